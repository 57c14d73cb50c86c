"""What the job needs that judges all models that are made here, one after another.

Imported by the Snakefile: nothing heavy is imported here.
"""

from pathlib import Path
from typing import Any

from headwise.analyses.working_heads.jobs import judged_models
from headwise.analyses.working_heads.settings import HELD_OUT_TOKENS
from headwise.models.files import corpus_files
from headwise.models.needs import training_request
from headwise.models.resources import Needs, corpus_bytes, held_out_needs
from headwise.models.shape import shape_of
from headwise.study.models import TrainedModel
from headwise.study.study import Study


def working_heads(study: Study, wildcards: Any, input: Any, prompts: int) -> Needs:
    """Of rule measure_working_heads; without such models it is no job."""
    models = judged_models(study)
    trained = [training_request(study, model.name) for model in models if isinstance(model, TrainedModel)]
    if not trained:
        return Needs(0, 0)
    shapes = [shape_of(study, model, 0, Path()) for model in models for _ in study.seeds_of(model)]
    return held_out_needs(shapes, trained, 2 * HELD_OUT_TOKENS, corpus_bytes(study.corpus, corpus_files(study.corpus)))
