"""A tokenizer whose output is known without a tokenizer: one token per byte."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHAT_TEMPLATE = (
    "<s>{% for message in messages %}<user>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}>{% endif %}"
)


def byte_tokenizer(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """258 tokens: `<s>`, which comes first in every encoding, `<user>`, and the 256 bytes."""
    alphabet = ["<s>", "<user>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    encoder = Tokenizer(models.BPE({symbol: number for number, symbol in enumerate(alphabet)}, []))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = decoders.ByteLevel()
    encoder.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=encoder,
        bos_token="<s>",
        additional_special_tokens=["<user>"],
        chat_template=chat_template,
    )
