// Pointing at a figure, or giving it the keyboard's focus, replaces the still drawing by its interactive form.
for (const figure of document.querySelectorAll("figure[data-name]")) {
  const still = figure.querySelector(".still");
  const live = figure.querySelector(".live");
  const enliven = async () => {
    const specification = JSON.parse(figure.querySelector("script").textContent);
    try {
      await window.vegaEmbed(live, specification, { actions: false, renderer: "svg" });
    } catch (error) {
      console.error(`The figure ${figure.dataset.name} stays a still drawing:`, error);
      return;
    }
    live.hidden = false;
    still.style.display = "none";
  };
  figure.addEventListener("pointerenter", enliven, { once: true });
  figure.addEventListener("focusin", enliven, { once: true });
}
