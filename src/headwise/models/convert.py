"""Weights of TransformerLens as a checkpoint of transformers that computes the same.

TransformerLens (Nanda and Bloom 2022) keeps the matrices of each head apart and multiplies row vectors from the left:
blocks.{l}.attn.W_Q [heads, d_model, d_head], W_O [heads, d_head, d_model]. GPT-2 keeps all heads of a layer, and
queries, keys and values, in one matrix.
"""

import math
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from headwise.models.architecture import architecture_facts
from headwise.models.checkpoint import weights_digest
from headwise.models.files import fetched_sources
from headwise.models.headers import FETCH_AGAIN, read_object, refuse_pointer
from headwise.models.hooked import HookedGPT2Config, HookedGPT2LMHeadModel
from headwise.models.hub import fetched_folder
from headwise.models.tokenizer import read_tokenizer, tokenizer_digest
from headwise.runtime.atomic import atomic
from headwise.runtime.json_files import write_json
from headwise.runtime.progress import no_bars_in_logs
from headwise.runtime.provenance import file_digest
from headwise.study.models import TransformerLensModel

REQUIRED = ("n_layers", "d_model", "d_head", "n_ctx", "d_vocab")
ACTIVATIONS = ("relu", "gelu", "silu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "quick_gelu")
NORMALIZATIONS = ("LN", "LNPre")
# What HookedTransformerConfig takes for granted and GPT-2 has; another value is another architecture.
GPT2_HAS: dict[str, Any] = {
    "attention_dir": "causal",
    "positional_embedding_type": "standard",
    "final_rms": False,
    "gated_mlp": False,
    "parallel_attn_mlp": False,
    "post_embedding_ln": False,
    "use_local_attn": False,
    "use_normalization_before_and_after": False,
    "num_experts": None,
    "attn_scores_soft_cap": -1.0,
    "output_logits_soft_cap": -1.0,
}
# Constants that TransformerLens saves with the weights.
BUFFERS = (".attn.mask", ".attn.IGNORE")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and value > 0


# What fields hold, where they are given and not null.
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(REQUIRED, (_is_count, "a whole number of 1 or more")),
    "d_mlp": (lambda value: value == 0 or _is_count(value), "a whole number"),
    "n_heads": (lambda value: value == -1 or _is_count(value), "a whole number of 1 or more, or -1"),
    **dict.fromkeys(("eps", "attn_scale"), (_is_number, "a number")),
    **dict.fromkeys(
        ("attn_only", "use_attn_scale", "scale_attn_by_inverse_layer_idx", "default_prepend_bos"),
        (lambda value: isinstance(value, bool), "true or false"),
    ),
}


class ConversionError(ValueError):
    """Weights or a configuration that are not converted; the message names file, field and remedy."""


def convert_model(
    model: TransformerLensModel,
    seed: int,
    checkpoint: Path,
    metadata: Mapping[str, Any],
    fetched: Path | None = None,
) -> None:
    """Write the checkpoint folder of a model of TransformerLens: config.json, model.safetensors, tokenizer, facts.json.

    `fetched` is what `fetch_model` wrote about the files that are not on disk. facts.json holds `metadata`, the
    architecture, digests of the original file and of what was written, and repository, revision and commit if fetched.

    Raises ConversionError for an architecture other than GPT-2's, for weights that do not fit the configuration, and
    for a file that holds more than tensors, which is not read.
    """
    weights, config, tokenizer = _places(model, seed, fetched)
    settings = read_config(config)
    state = read_weights(weights)
    converted = to_transformers(state, settings, str(weights))
    origin: dict[str, Any] = {"source_files": {weights.name: file_digest(weights)}}
    if fetched is not None and model.repository is not None:
        source = fetched_sources(fetched)[0]
        origin |= {key: source[key] for key in ("repository", "revision", "commit")}
    with atomic(checkpoint) as temporary:
        with no_bars_in_logs():
            converted.save_pretrained(temporary)
        with_first_token(tokenizer, bool(settings.get("default_prepend_bos", True))).save_pretrained(temporary)
        facts = {
            "model": dict(metadata),
            "architecture": architecture_facts(converted.config),
            **origin,
            "tokenizer_digest": tokenizer_digest(temporary),
            "weights_digest": weights_digest(temporary),
        }
        write_json(facts, temporary / "facts.json")


def read_config(path: Path) -> dict[str, Any]:
    """A HookedTransformerConfig from JSON, refused where it is no GPT-2. Raises ConversionError, naming the field,
    and CheckpointError for damaged JSON."""
    settings = read_object(path)
    if missing := [field for field in REQUIRED if field not in settings]:
        raise ConversionError(f"{path}: {', '.join(missing)} missing: add what the model was built with")
    for field, (kind, words) in KINDS.items():
        value = settings.get(field)
        if (value is not None or field in REQUIRED) and not kind(value):
            raise ConversionError(f"{path}: {field} is {value!r}, and must be {words}: correct it")
    width, head_width = settings["d_model"], settings["d_head"]
    if width % head_width:
        raise ConversionError(
            f"{path}: d_model {width} is no multiple of d_head {head_width}, as it is in GPT-2: choose another model"
        )
    if settings.get("n_heads", -1) in (None, -1):
        settings["n_heads"] = width // head_width
    expected = {
        **GPT2_HAS,
        "n_heads": width // head_width,
        "n_key_value_heads": None,
        "d_vocab_out": -1,
    }
    same = {"n_key_value_heads": settings["n_heads"], "d_vocab_out": settings["d_vocab"]}
    for field, value in expected.items():
        if settings.get(field, value) not in (value, same.get(field, value)):
            raise ConversionError(
                f"{path}: {field} is {settings[field]!r}, and only models of GPT-2's architecture are converted, where "
                f"it is {value!r}: choose another model"
            )
    for field, choices in (("normalization_type", NORMALIZATIONS), ("act_fn", ACTIVATIONS)):
        needed = field != "act_fn" or not settings.get("attn_only", False)
        if needed and settings.get(field, "LN" if field == "normalization_type" else None) not in choices:
            raise ConversionError(
                f"{path}: {field} is {settings.get(field)!r}, and converted are {', '.join(choices)}: "
                "choose another model"
            )
    return settings


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote, or those under `model_state_dict` in it; no code of it is run.

    Raises ConversionError where it holds anything but tensors.
    """
    refuse_pointer(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ConversionError(
            f"{path}: not a file of tensors alone, and nothing else in it is run: save it with "
            "torch.save(model.state_dict(), path)"
        ) from None
    except MemoryError:
        raise
    # What is no such file, or cut off, makes torch raise errors of many types.
    except Exception as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise ConversionError(f"{path}: cut off or damaged ({said}): {FETCH_AGAIN}") from None
    state = state.get("model_state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConversionError(f"{path}: not a state dict: save it with torch.save(model.state_dict(), path)")
    return {name: value for name, value in state.items() if not name.endswith(BUFFERS)}


def to_transformers(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> HookedGPT2LMHeadModel:
    """The model of transformers, float32, in evaluation mode, that computes what TransformerLens computes with `state`.

    `settings` is what `read_config` returned; `source` names the weights in errors. Layer norms without weights (LNPre)
    get weights of one and biases of zero. Raises ConversionError where names or shapes of `state` are not those of the
    configuration.
    """
    width, heads = settings["d_model"], settings["n_heads"]
    attention_only = settings.get("attn_only", False)
    inner = settings.get("d_mlp") or 4 * width
    model = HookedGPT2LMHeadModel(
        HookedGPT2Config(
            vocab_size=settings["d_vocab"],
            n_positions=settings["n_ctx"],
            n_embd=width,
            n_layer=settings["n_layers"],
            n_head=heads,
            n_inner=inner,
            activation_function=settings.get("act_fn") or "gelu",
            layer_norm_epsilon=settings.get("eps", 1e-5),
            scale_attn_by_inverse_layer_idx=settings.get("scale_attn_by_inverse_layer_idx", False),
            attention_only=attention_only,
            bos_token_id=None,
            eos_token_id=None,
        )
    )
    remaining = dict(state)

    def take(name: str, *shape: int) -> Tensor:
        if name not in remaining:
            longer = next((other for other in remaining if other.endswith(f".{name}")), None)
            remedy = f"take the prefix off '{longer}'" if longer else "the configuration is of another model"
            raise ConversionError(f"{source}: '{name}' is missing: {remedy}")
        tensor = remaining.pop(name).float()
        if tensor.shape != shape:
            raise ConversionError(
                f"{source}: '{name}' has the shape {tuple(tensor.shape)} instead of {shape}: the configuration is of "
                "another model"
            )
        return tensor

    def norm(name: str, target: str) -> dict[str, Tensor]:
        if settings.get("normalization_type", "LN") == "LNPre":
            return {f"{target}.weight": torch.ones(width), f"{target}.bias": torch.zeros(width)}
        return {f"{target}.weight": take(f"{name}.w", width), f"{target}.bias": take(f"{name}.b", width)}

    converted = {
        "transformer.wte.weight": take("embed.W_E", settings["d_vocab"], width),
        "transformer.wpe.weight": take("pos_embed.W_pos", settings["n_ctx"], width),
        "lm_head.weight": take("unembed.W_U", width, settings["d_vocab"]).T,
        "lm_head.bias": take("unembed.b_U", settings["d_vocab"]),
        **norm("ln_final", "transformer.ln_f"),
    }
    for layer in range(settings["n_layers"]):
        old, new = f"blocks.{layer}", f"transformer.h.{layer}"
        matrices = {name: take(f"{old}.attn.W_{name}", heads, width, settings["d_head"]) for name in "QKV"}
        biases = {name: take(f"{old}.attn.b_{name}", heads, settings["d_head"]) for name in "QKV"}
        rescaled = math.sqrt(settings["d_head"]) / _attention_scale(settings)
        matrices["Q"], biases["Q"] = matrices["Q"] * rescaled, biases["Q"] * rescaled
        converted |= {
            **norm(f"{old}.ln1", f"{new}.ln_1"),
            # (heads, d_model, d_head) to (d_model, heads × d_head), for queries, keys and values side by side.
            f"{new}.attn.c_attn.weight": torch.cat(
                [matrix.transpose(0, 1).reshape(width, -1) for matrix in matrices.values()], dim=1
            ),
            f"{new}.attn.c_attn.bias": torch.cat([bias.reshape(-1) for bias in biases.values()]),
            f"{new}.attn.c_proj.weight": take(f"{old}.attn.W_O", heads, settings["d_head"], width).reshape(-1, width),
            f"{new}.attn.c_proj.bias": take(f"{old}.attn.b_O", width),
        }
        if not attention_only:
            converted |= {
                **norm(f"{old}.ln2", f"{new}.ln_2"),
                f"{new}.mlp.c_fc.weight": take(f"{old}.mlp.W_in", width, inner),
                f"{new}.mlp.c_fc.bias": take(f"{old}.mlp.b_in", inner),
                f"{new}.mlp.c_proj.weight": take(f"{old}.mlp.W_out", inner, width),
                f"{new}.mlp.c_proj.bias": take(f"{old}.mlp.b_out", width),
            }
    if remaining:
        raise ConversionError(
            f"{source}: '{min(remaining)}' has no place in the configuration, which is of another model"
        )
    model.load_state_dict(converted)
    return model.eval()


def with_first_token(folder: Path, prepend: bool) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, which begins a text with its BOS token (EOS where it has none) if `prepend` says so.

    TransformerLens prepends that token by itself, whatever the tokenizer does. Raises ConversionError for a tokenizer
    without either token.
    """
    tokenizer: Any = read_tokenizer(folder)
    first = tokenizer.bos_token or tokenizer.eos_token
    encoder = tokenizer.backend_tokenizer
    if prepend:
        if first is None:
            raise ConversionError(f"{folder}: the tokenizer has no BOS token to begin a text with: choose another one")
        number = tokenizer.convert_tokens_to_ids(first)
        encoder.post_processor = processors.TemplateProcessing(single=f"{first} $A", special_tokens=[(first, number)])
    special = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    return PreTrainedTokenizerFast(tokenizer_object=encoder, **special | {"bos_token": first})


def _attention_scale(settings: Mapping[str, Any]) -> float:
    """What attention scores are divided by."""
    if not settings.get("use_attn_scale", True):
        return 1.0
    scale = settings.get("attn_scale", -1.0)
    return math.sqrt(settings["d_head"]) if scale == -1.0 else scale


def _places(model: TransformerLensModel, seed: int, fetched: Path | None) -> tuple[Path, Path, Path]:
    """Where weights, configuration and tokenizer lie."""
    weights, config, tokenizer = Path(model.place("weights", seed)), model.config, model.tokenizer
    if fetched is not None and model.repository is not None:
        folder = fetched_folder(fetched)
        weights = folder / weights
        config = config or str(folder / str(model.repository_config))
    if fetched is not None and model.tokenizer_repository is not None:
        tokenizer = str(fetched_folder(fetched, source=len(model.downloads(seed)) - 1))
    return weights, Path(str(config)), Path(str(tokenizer))
