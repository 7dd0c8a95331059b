"""Models whose head does more than TRL's pass over it are refused when they get it; the others are let through."""

import warnings

import peft
import pytest
import torch
import transformers
import trl
from datasets import Dataset
from trl.trainer import sft_trainer
from trl.trainer.utils import add_fused_lm_head

from poz.integrations.trl import DPOTrainer, install, uninstall
from poz.integrations.trl_kto import KTOTrainer

SHAPE = {"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
HEADS = {"num_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0}
BERT = {**SHAPE, **HEADS, "is_decoder": True}
GROUPED = {**SHAPE, **HEADS, "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 1, "eos_token_id": 2}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "intermediate_size_mlp": 48}
MPT = {"vocab_size": 96, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64}

# Of 156 model types of transformers 5.23 that could be built small; with what their heads do.
NOT_RIGHT = {
    **dict.fromkeys(
        (
            "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta",
            "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl",
        ),
        BERT,  # a layer and a norm before the product
    ),
    "xmod": {**BERT, "default_language": "en_XX"},
    "modernbert-decoder": {**SHAPE, **HEADS, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 3, "sep_token_id": 4},
    "prophetnet": {
        "vocab_size": 96, "hidden_size": 32, "num_decoder_layers": 2, "num_decoder_attention_heads": 4,
        "decoder_ffn_dim": 48, "is_decoder": True, "is_encoder_decoder": False, "add_cross_attention": False,
        "max_position_embeddings": 64,
    },  # streams of n-grams
    "recurrent_gemma": {**SHAPE, "num_attention_heads": 4, "lru_width": 32, "head_dim": 8},  # logits_soft_cap
    "xlstm": {"vocab_size": 96, "hidden_size": 64, "num_heads": 4, "num_hidden_layers": 2},  # output_logit_soft_cap
    "inkling_text": {**GROUPED, "moe_intermediate_size": 16, "num_experts_per_tok": 2},  # logits_mup_width_multiplier
    "llama4_text": {**GROUPED, **EXPERTS},  # its base model is itself
    "mpt": {**MPT, "logit_scale": 0.5},  # not used by its own head
}  # fmt: skip

RIGHT = {
    "llama": GROUPED,
    "gemma2": GROUPED,  # final_logit_softcapping
    "cohere": GROUPED,  # logit_scale
    "granite": {**GROUPED, "logits_scaling": 3.0},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "phi": {**SHAPE, **HEADS},  # a bias
    "mpt": MPT,
    "gpt2": {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1},
    "opt": {**SHAPE, **HEADS, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "bart": {
        "vocab_size": 96, "d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4,
        "is_decoder": True,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _installed():
    """Whatever is not compared warns, and a warning fails here."""
    install()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="poz could not compare")
        yield
    uninstall()


def tiny(kind, dtype=torch.float32, **more):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **({**RIGHT, **NOT_RIGHT}[kind] | more))
    return transformers.AutoModelForCausalLM.from_config(config).to(dtype)


@pytest.mark.parametrize("kind", NOT_RIGHT)
def test_a_head_that_does_more_is_refused(kind):
    model = tiny(kind)
    with pytest.raises(ValueError, match=f"output embeddings of `{kind}`"):
        add(model)
    assert "forward" not in vars(model)


def add(model, **options):
    """As a trainer that was imported before `install` calls it, through a name of its own."""
    assert sft_trainer.add_fused_lm_head is not add_fused_lm_head
    sft_trainer.add_fused_lm_head(model, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", RIGHT)
def test_a_head_that_multiplies_is_let_through(kind, dtype):
    more = {"logit_scale": None} if kind == "mpt" else {}
    for temperature in (1.0, 0.7):
        model = tiny(kind, dtype, **more)
        add(model, temperature=temperature)
        assert "forward" in vars(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_head_that_someone_has_wrapped_is_refused(dtype):
    """Nothing in the configuration tells: a cap, which small logits hardly feel, and a scale."""
    for change in (lambda z: 30 * torch.tanh(z / 30), lambda z: z * 1.3, lambda z: z + torch.linspace(0, 3, 96)):
        model = tiny("llama", dtype)
        plain = model.lm_head.forward
        model.lm_head.forward = lambda hidden, plain=plain, change=change: change(plain(hidden).float())
        with pytest.raises(ValueError, match="output embeddings of `llama` are up to"):
            add(model)


class WithDelta(torch.nn.Linear):
    """A head with a delta of its own that begins at 0, so that no number tells."""

    def __init__(self):
        super().__init__(32, 96, bias=False)
        self.down, self.up = torch.nn.Parameter(torch.randn(2, 32)), torch.nn.Parameter(torch.zeros(96, 2))

    def forward(self, hidden):
        return super().forward(hidden) + hidden @ self.down.T @ self.up.T


def test_a_head_with_more_to_train_is_refused():
    """It would stay as it is while the rest is trained: an adapter without PEFT's wrapper, which TRL would refuse."""
    adapted, own, listed = (tiny("llama") for _ in range(3))
    adapted.add_adapter(peft.LoraConfig(target_modules=["q_proj", "lm_head"]))
    own.lm_head, listed.lm_head = WithDelta(), torch.nn.Sequential(torch.nn.Linear(32, 96))
    for model, said in (
        (adapted, "of `llama` would never train lora_A.default.weight, lora_B.default.weight"),
        (own, "of `llama` would never train down, up"),
        (listed, "head, a Sequential, has no weight"),
    ):
        with pytest.raises(ValueError, match=said):
            add(model)
        assert "forward" not in vars(model)
    normed, few = tiny("llama"), tiny("llama", vocab_size=4)
    torch.nn.utils.parametrizations.weight_norm(normed.lm_head)  # its weight is made of what is trained
    for model in (normed, few):
        add(model)
        assert "forward" in vars(model)


def test_the_model_and_the_draws_stay_as_they_are():
    model = tiny("gpt2")
    model.transformer.h[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    add(model)
    assert modes == [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_flash_attention_on_a_cpu_does_not_keep_it_from_being_compared():
    model = tiny("llama")
    model.config._attn_implementation = "flash_attention_2"  # as where its weights are not on the GPU yet
    add(model)
    assert model.config._attn_implementation == "flash_attention_2"


def test_what_does_not_run_on_tokens_alone_warns():
    model = tiny("llama")
    model.model.embed_tokens.register_forward_hook(lambda *_: 1 / 0)
    warnings.resetwarnings()
    with pytest.warns(UserWarning, match="could not compare its log-probs with those of the logits of `llama`"):
        add(model)


def test_a_model_without_weights_is_left_alone():
    with torch.device("meta"):
        model = tiny("recurrent_gemma")
    add(model)
    assert "forward" in vars(model)


@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:FutureWarning")  # TRL's configuration
def test_trainers_refuse_and_trls_own_go_on(tmp_path):
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words(), pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    rows = {"prompt": ["a b"] * 4, "chosen": ["c d"] * 4, "rejected": ["d e"] * 4}
    pairs, texts = Dataset.from_dict(rows), Dataset.from_dict({"text": rows["prompt"]})
    common = {"report_to": "none", "use_cpu": True, "bf16": False}
    arguments = {"processing_class": tokenizer}
    uninstall()  # poz's trainers need no `install`
    for trainer, config in ((DPOTrainer, trl.DPOConfig), (KTOTrainer, trl.KTOConfig)):
        for objective in {DPOTrainer: ("simpo", "dpo"), KTOTrainer: ("kto",)}[trainer]:
            with pytest.raises(ValueError, match="output embeddings of `recurrent_gemma`"):
                trainer(
                    tiny("recurrent_gemma"), args=config(str(tmp_path), **common), train_dataset=pairs, objective=objective,
                    **arguments,
                )  # fmt: skip
    install()
    given = {"args": trl.SFTConfig(str(tmp_path), **common), "train_dataset": texts, **arguments}
    with pytest.raises(ValueError, match="output embeddings of `recurrent_gemma`"):
        trl.SFTTrainer(tiny("recurrent_gemma"), **given)
    uninstall()
    assert sft_trainer.add_fused_lm_head is add_fused_lm_head
    trl.SFTTrainer(tiny("recurrent_gemma"), **given)


def words():
    from tokenizers import Tokenizer, models, pre_tokenizers

    known = ["<pad>", "<eos>", "<unk>", *"abcdefgh"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made
