"""The command line as a user calls it, and small checkpoints and prompts for it."""

from pathlib import Path

import torch
from tokenizer_examples import CHAT_TEMPLATE, byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner, Result

from headwise.cli import app

PROMPTS = "# three\n1. One small prompt.\n2. Another, which is longer.\n3. The third of them.\n"


def headwise(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def write_checkpoint(folder: Path, seed: int, heads: int = 4) -> Path:
    config = LlamaConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=heads,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(folder)
    byte_tokenizer(CHAT_TEMPLATE).save_pretrained(folder)
    return folder
