"""What an arm taught that its placebo did not, refit by refit."""

import pandas as pd

MADE = ["base", "method", "dose", "seed"]


def compared_with_placebos(doses: pd.DataFrame) -> pd.DataFrame:
    """A row per arm and refit that has a placebo, the first where there are several, of the table `dose`: base, method,
    dose, seed, and

    accuracy_more  rise of the preference accuracy under the arm less that under the placebo
    loss_less      fall of the answer loss under the arm less that under the placebo, nats per token
    kl_ratio       KL of the arm over KL of the placebo

    Positive differences say that the arm taught more.
    """
    rows = doses.assign(
        accuracy=doses["accuracy_after"] - doses["accuracy_before"],
        loss=doses["answer_loss_after"] - doses["answer_loss_before"],
    )
    is_placebo = rows["placebo"].astype(bool)
    first = rows[is_placebo].drop_duplicates(MADE)
    pairs = rows[~is_placebo].merge(first, on=MADE, suffixes=("", "_of_placebo"))
    return pd.DataFrame(
        {
            **{name: pairs[name] for name in MADE},
            "accuracy_more": pairs["accuracy"] - pairs["accuracy_of_placebo"],
            "loss_less": pairs["loss_of_placebo"] - pairs["loss"],
            "kl_ratio": pairs["kl_nats"] / pairs["kl_nats_of_placebo"],
        }
    )
