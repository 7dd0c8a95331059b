"""A tiny vision-language model made from its configuration, its processor, and a few pairs with images."""

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIZE, PATCH = 8, 4  # an image of 4 patches
SPECIAL = ["<pad>", "</s>", "<image>"]


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))


VISION_PAIRS = [
    {"images": [picture(0)], "prompt": "<image>What is it? ", "chosen": "A square.", "rejected": "no"},
    {"images": [picture(1)], "prompt": "<image>And this? ", "chosen": "Noise", "rejected": "what do you want"},
    {"images": [picture(2)], "prompt": "See <image> here: ", "chosen": "Yes, I do.", "rejected": "a"},
]


def processor():
    """Of characters."""
    words = {word: i for i, word in enumerate([*SPECIAL, *map(chr, range(32, 127))])}
    made = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    tokens = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<pad>", "additional_special_tokens": ["<image>"]}
    size = {"size": {"shortest_edge": SIZE}, "crop_size": {"height": SIZE, "width": SIZE}}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(**size),
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=made, **tokens),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def vision_model(seed):
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    text = LlamaConfig(vocab_size=len(SPECIAL) + 95, initializer_range=0.2, **tokens, **shape)
    sight = CLIPVisionConfig(image_size=SIZE, patch_size=PATCH, initializer_range=0.2, **shape)
    return LlavaForConditionalGeneration(
        LlavaConfig(vision_config=sight, text_config=text, image_token_index=2, image_seq_length=4)
    )
