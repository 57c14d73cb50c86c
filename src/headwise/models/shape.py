"""How large a model is, before it is made, fetched or loaded: what resources are requested by.

Imported by the Snakefile, so nothing heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwise.models.files import CONFIG, fetched_sources, weight_files
from headwise.models.headers import read_headers, read_object, values_in
from headwise.study.models import AlignedModel, AnyModel, Facts, FolderModel, TrainedModel
from headwise.study.study import Study
from headwise.study.training import Decoder

# What architectures of transformers call these numbers in config.json.
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads", "decoder_attention_heads")
HIDDEN = ("hidden_size", "n_embd", "d_model", "dim", "emb_dim")
VOCABULARY = ("vocab_size", "n_words")
# Architectures whose modules compute attention themselves, whole, a layer at a time (docs/architectures.md).
WHOLE_ATTENTION = frozenset(
    {"bloom", "codegen", "falcon", "flaubert", "gpt_neo", "gptj", "mpnet", "mpt", "openai-gpt", "xglm", "xlm"}
)
# Of a model about which nothing is said: more than most have.
UNKNOWN_LAYERS, UNKNOWN_HEADS, UNKNOWN_HIDDEN = 64, 64, 8192
UNKNOWN_VOCABULARY = 262_144
# Checkpoints are published in 16 bits, with few exceptions.
PUBLISHED_BYTES = 2


@dataclass(frozen=True)
class Shape:
    """parameters: number of weights. stored_bytes: their size on disk. layers; heads of each; hidden: width of the
    residual stream. whole_attention: whether capture of statistics needs one layer's attention whole, not in tiles;
    true where it is not known. vocabulary: tokens that have a logit, which takes more memory than all else where a
    loss is computed."""

    parameters: int
    stored_bytes: int
    layers: int
    heads: int
    hidden: int
    whole_attention: bool = True
    vocabulary: int = UNKNOWN_VOCABULARY


def shape_of(study: Study, model: AnyModel, seed: int, checkpoint: Path) -> Shape:
    """The shape of a model of the study: of one that is trained here from its decoder section, else from the facts that
    the study states, else from what lies at `checkpoint`: a folder, or what `fetch_model` wrote.

    Raises FileNotFoundError, which names the checkpoint, where it is not there yet.
    """
    if isinstance(model, AlignedModel):
        return shape_of(study, study.model(model.base), seed, checkpoint)
    if isinstance(model, TrainedModel):
        return shape_of_decoder(study.decoder_of(model), study.tokenizer.vocabulary)
    if isinstance(model, FolderModel):
        return shape_of_folder(Path(model.place("path", seed)))
    return shape_of_facts(model.facts) if model.facts is not None else shape_at(checkpoint)


def shape_at(place: Path) -> Shape:
    """The shape of a model from the folder of its checkpoint, from what `fetch_model` wrote, or from a file of weights.

    Raises FileNotFoundError where there is nothing.
    """
    if place.is_dir():
        return shape_of_folder(place)
    stored = place.stat().st_size
    width = 4
    if place.suffix == ".json":
        files = fetched_sources(place)[0]["files"]
        stored = sum(file["bytes"] for file in files.values())
        width = PUBLISHED_BYTES
    return Shape(stored // width, stored, UNKNOWN_LAYERS, UNKNOWN_HEADS, UNKNOWN_HIDDEN)


def shape_of_decoder(decoder: Decoder, vocabulary: int) -> Shape:
    """The shape of a decoder that is trained here; norms and biases, which are few, do not count."""
    width, key_value_heads = decoder.heads * decoder.head_width, decoder.key_value_heads or decoder.heads
    attention = 2 * decoder.hidden * (width + key_value_heads * decoder.head_width)
    matrices = 3 if decoder.architecture == "llama" else 2
    layer = attention + matrices * decoder.hidden * decoder.feed_forward
    positions = 0 if decoder.architecture == "llama" else decoder.positions
    parameters = decoder.layers * layer + (2 * vocabulary + positions) * decoder.hidden
    return Shape(
        parameters, 4 * parameters, decoder.layers, decoder.heads, decoder.hidden, whole_attention=False,
        vocabulary=vocabulary,
    )  # fmt: skip


def shape_of_facts(facts: Facts) -> Shape:
    """The shape of a model that is fetched, as its study states it."""
    stored_bytes, whole = PUBLISHED_BYTES * facts.parameters, _is_whole(facts.model_type)
    # Embeddings are some of the weights, so that there are no more words than rows of that width.
    vocabulary = max(1, min(UNKNOWN_VOCABULARY, facts.parameters // facts.hidden))
    return Shape(facts.parameters, stored_bytes, facts.layers, facts.heads, facts.hidden, whole, vocabulary)


def shape_of_folder(folder: Path) -> Shape:
    """The shape of a checkpoint on disk, from config.json and the headers of its weights.

    What is missing there is refused when the checkpoint is loaded, with the reason; here it counts as nothing.
    Raises CheckpointError for what is damaged.
    """
    files = [path for path in weight_files(folder) if path.is_file()]
    config: Mapping[str, Any] = {}
    if (folder / CONFIG).is_file():
        config = read_object(folder / CONFIG)
    # Code of one's own, and GPT-2's second path, are as unknown as a missing type.
    known = not any(map(config.get, ("auto_map", "reorder_and_upcast_attn")))
    whole_attention = _is_whole(config.get("model_type") if known else None)
    config = text_config(config)
    return Shape(
        parameters=values_in(read_headers(files)),
        stored_bytes=sum(path.stat().st_size for path in files),
        layers=_first(config, LAYERS, UNKNOWN_LAYERS),
        heads=_first(config, HEADS, UNKNOWN_HEADS),
        hidden=_first(config, HIDDEN, UNKNOWN_HIDDEN),
        whole_attention=whole_attention,
        vocabulary=_first(config, VOCABULARY, UNKNOWN_VOCABULARY),
    )


def text_config(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """What config.json says of the part that reads text; most models have no other."""
    inner = content.get("text_config")
    return inner if isinstance(inner, dict) and inner else content


def _is_whole(model_type: str | None) -> bool:
    return model_type is None or model_type in WHOLE_ATTENTION


def _first(config: Mapping[str, Any], names: tuple[str, ...], default: int) -> int:
    return next((config[name] for name in names if isinstance(config.get(name), int)), default)
