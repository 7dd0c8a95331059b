"""Rows as data sets on the hub and trainers' own formats have them: real column names, invented text.

Each is a name, the rows, and what `poz.preferences.load` must read: (prompt, chosen, rejected) or, with a known gap of
rewards, (prompt, chosen, rejected, margin). Columns that say nothing of the pair stand for all those of their kind.
"""

ASK = "Which of the two rivers is the longer one?"
GOOD, BAD, WORSE = "The first of them.", "No idea.", "Go away."


def said(role, content):
    return {"role": role, "content": content}


def turn(who, value):
    return {"from": who, "value": value}


USER = [said("user", ASK)]
SYSTEM = [said("system", "Be brief.")]
EARLIER = [said("user", "Do you know rivers?"), said("assistant", "A few.")]
YES, NO = [said("assistant", GOOD)], [said("assistant", BAD)]

PROMPT = f"\n\nHuman: {ASK}\n\nAssistant:"
SYSTEM_PROMPT = f"\n\nSystem: Be brief.{PROMPT}"
LATER_PROMPT = f"\n\nHuman: Do you know rivers?\n\nAssistant: A few.{PROMPT}"
ANSWERS = (f" {GOOD}", f" {BAD}")
PLAIN = (ASK, GOOD, BAD)
CHAT = (PROMPT, *ANSWERS)

LAYOUTS = {
    "Anthropic/hh-rlhf": (
        [{"chosen": f"{LATER_PROMPT} {GOOD}", "rejected": f"{LATER_PROMPT} {BAD}"}],
        [(LATER_PROMPT, *ANSWERS)],
    ),
    "Dahoas/full-hh-rlhf": (
        [{"prompt": PROMPT, "response": ANSWERS[0], "chosen": ANSWERS[0], "rejected": ANSWERS[1]}],
        [CHAT],
    ),
    "HH-RLHF cut at the assistant's turn, which answers with one of the human's": (
        [{"prompt": PROMPT, "chosen": f"\n\nHuman:{ANSWERS[0]}", "rejected": f"\n\nHuman:{ANSWERS[1]}"}],
        [(PROMPT, f"\n\nHuman:{ANSWERS[0]}", f"\n\nHuman:{ANSWERS[1]}")],
    ),
    "HuggingFaceH4/ultrafeedback_binarized": (
        [
            {
                "prompt": ASK,
                "prompt_id": "a1",
                "chosen": USER + YES,
                "rejected": USER + NO,
                "messages": USER + YES,
                "score_chosen": 8.5,
                "score_rejected": 7.0,
            }
        ],
        [(*CHAT, 1.5)],
    ),
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": (
        [
            {
                "id": "a1",
                "source": "made",
                "prompt": ASK,
                "chosen": EARLIER + USER + YES,
                "rejected": EARLIER + USER + NO,
                "chosen_rating": 5,
                "rejected_rating": 2,
                "chosen_model": "m",
                "rejected_model": "n",
            }
        ],
        [(LATER_PROMPT, *ANSWERS, 3.0)],
    ),
    "mlabonne/orpo-dpo-mix-40k": (
        [{"source": "made", "chosen": USER + YES, "rejected": USER + NO, "prompt": ASK, "question": None}],
        [CHAT],
    ),
    "argilla/distilabel-capybara-dpo-7k-binarized": (
        [
            {
                "source": "made",
                "conversation": None,
                "original_response": GOOD,
                "generation_prompt": ["x"],
                "prompt": EARLIER + USER,
                "chosen": EARLIER + USER + YES,
                "rejected": EARLIER + USER + NO,
                "rating_chosen": 5,
                "rating_rejected": 4,
            }
        ],
        [(LATER_PROMPT, *ANSWERS, 1.0)],
    ),
    "argilla/dpo-mix-7k": (
        [
            {
                "dataset": "made",
                "chosen": SYSTEM + USER + YES,
                "rejected": SYSTEM + USER + NO,
                "chosen_rating": 5.0,
                "rejected_rating": 1.0,
            }
        ],
        [(SYSTEM_PROMPT, *ANSWERS, 4.0)],
    ),
    "argilla/ultrafeedback-binarized-preferences": (
        [
            {
                "source": "made",
                "instruction": ASK,
                "chosen_response": GOOD,
                "rejected_response": BAD,
                "chosen_avg_rating": 5.0,
                "rejected_avg_rating": 3.5,
                "chosen_model": "m",
            }
        ],
        [(*CHAT, 1.5)],
    ),
    "argilla/ultrafeedback-binarized-preferences-cleaned": (
        [
            {
                "source": "made",
                "prompt": ASK,
                "chosen": USER + YES,
                "chosen-rating": 5.0,
                "chosen-model": "m",
                "rejected": USER + NO,
                "rejected-rating": 4.0,
                "rejected-model": "n",
            }
        ],
        [(*CHAT, 1.0)],
    ),
    "argilla/distilabel-intel-orca-dpo-pairs": (
        [
            {
                "system": "Be brief.",
                "input": ASK,
                "chosen": GOOD,
                "rejected": BAD,
                "generations": [BAD, GOOD],
                "order": ["rejected", "chosen"],
                "rating": [3.0, 9.0],
                "status": "unchanged",
                "original_chosen": GOOD,
                "chosen_score": 9.0,
            }
        ],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "argilla's distilabel, not binarized": (
        [{"input": ASK, "generations": [BAD, GOOD, BAD], "rating": [3.0, 9.0, 3.0], "generation_model": "m"}],
        [(*CHAT, 6.0), (*CHAT, 6.0)],
    ),
    "Intel/orca_dpo_pairs": (
        [{"system": "Be brief.", "question": ASK, "chosen": GOOD, "rejected": BAD}] * 2,
        [(SYSTEM_PROMPT, *ANSWERS)] * 2,
    ),
    "Intel/orca_dpo_pairs, no system prompt": (
        [{"system": "", "question": ASK, "chosen": GOOD, "rejected": BAD}],
        [CHAT],
    ),
    "jondurbin/truthy-dpo-v0.1": (
        [{"id": "a1", "source": "made", "system": "Be brief.", "prompt": ASK, "chosen": GOOD, "rejected": BAD}],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "jondurbin/py-dpo-v0.1": ([{"prompt": ASK, "chosen": GOOD, "rejected": BAD, "id": "a1"}], [PLAIN]),
    "stanfordnlp/SHP": (
        [
            {
                "post_id": "a1",
                "domain": "askmade_train",
                "history": ASK,
                "human_ref_A": one,
                "human_ref_B": other,
                "labels": label,
                "score_A": 5,
                "score_B": 50,
            }
            for one, other, label in ((GOOD, BAD, 1), (BAD, GOOD, 0))
        ],
        [CHAT, CHAT],
    ),
    "berkeley-nest/Nectar": (
        [
            {
                "prompt": f"{PROMPT} ",
                "answers": [
                    {"answer": BAD, "model": "m", "rank": 2.0},
                    {"answer": GOOD, "model": "n", "rank": 1.0},
                    {"answer": WORSE, "model": "o", "rank": 3.0},
                ],
                "turns": 1,
                "num_responses": 3,
                "source": ["made"],
                "good_natured": True,
            }
        ],
        [(f"{PROMPT} ", GOOD, BAD), (f"{PROMPT} ", GOOD, WORSE), (f"{PROMPT} ", BAD, WORSE)],
    ),
    "nvidia/HelpSteer2, preference": (
        [
            {
                "split": "train",
                "prompt": ASK,
                "response_1": GOOD,
                "response_2": BAD,
                "preference_strength": -2,
                "preference_statement": "x",
            },
            {"split": "train", "prompt": ASK, "response_1": BAD, "response_2": GOOD, "preference_strength": 1},
        ],
        [PLAIN, PLAIN],
    ),
    "nvidia/HelpSteer3, preference": (
        [
            {
                "domain": "made",
                "language": "english",
                "context": EARLIER + USER,
                "response1": GOOD,
                "response2": BAD,
                "overall_preference": -3,
                "individual_preference": [{"score": -3, "reasoning": "x"}],
            }
        ],
        [(LATER_PROMPT, *ANSWERS)],
    ),
    "xinlai/Math-Step-DPO-10K": (
        [
            {
                "dataset": "made",
                "prompt": ASK,
                "initial_reason_steps": "Step 1: ",
                "chosen": GOOD,
                "rejected": BAD,
                "full_chosen": GOOD,
                "full_rejected": BAD,
                "answer": "1",
            }
        ],
        [(PROMPT, f" Step 1: {GOOD}", f" Step 1: {BAD}")],
    ),
    "lvwerra/stack-exchange-paired": (
        [{"qid": 1, "question": ASK, "date": "today", "metadata": ["x"], "response_j": GOOD, "response_k": BAD}],
        [CHAT],
    ),
    "PKU-Alignment/PKU-SafeRLHF, without safer_response_id": (
        [
            {
                "prompt": ASK,
                "prompt_source": "made",
                "response_0": BAD,
                "response_1": GOOD,
                "is_response_0_safe": True,
                "better_response_id": 1,
            }
        ],
        [PLAIN],
    ),
    "openbmb/UltraFeedback": (
        [
            {
                "source": "made",
                "instruction": ASK,
                "models": ["m", "n"],
                "completions": [
                    {"model": "m", "response": BAD, "fine-grained_score": 2.5, "overall_score": 9.0},
                    {"model": "n", "response": GOOD, "fine-grained_score": 4.0, "overall_score": 8.0},
                ],
            }
        ],
        [(*CHAT, 1.5)],
    ),
    "poz's own lists, with scores": (
        [{"prompt": ASK, "completions": [BAD, GOOD, WORSE], "scores": [2.0, 3.5, -1.0]}],
        [(*PLAIN, 1.5), (ASK, GOOD, WORSE, 4.5), (ASK, BAD, WORSE, 3.0)],
    ),
    "poz's own lists of messages, with ranks": (
        [{"prompt": EARLIER + USER, "completions": [NO, YES], "ranks": [2, 1]}],
        [(LATER_PROMPT, *ANSWERS)],
    ),
    "poz's own lists, with win rates": ([{"prompt": ASK, "completions": [BAD, GOOD], "winrates": [0.2, 0.8]}], [PLAIN]),
    "princeton-nlp/llama3-ultrafeedback": (
        [
            {
                "prompt_id": "a1",
                "prompt": ASK,
                "all_generated_responses": [GOOD, BAD],
                "all_rm_scores": [0.2, 0.1],
                "chosen": USER + YES,
                "rejected": USER + NO,
            }
        ],
        [CHAT],
    ),
    "openai/webgpt_comparisons": (
        [
            {
                "question": {"dataset": "made", "id": "a1", "full_text": ASK},
                "quotes_0": {"title": [], "extract": []},
                "answer_0": BAD,
                "score_0": -0.5,
                "quotes_1": {"title": [], "extract": []},
                "answer_1": GOOD,
                "score_1": 0.5,
            }
        ],
        [(*CHAT, 1.0)],
    ),
    "openai/summarize_from_feedback, comparisons": (
        [
            {
                "info": {
                    "id": "a1",
                    "post": "Long.",
                    "title": "Rivers",
                    "subreddit": "made",
                    "site": None,
                    "article": None,
                },
                "summaries": [{"text": f" {BAD}", "policy": "m"}, {"text": f" {GOOD}", "policy": "n"}],
                "choice": 1,
                "worker": "w",
                "batch": "b",
            }
        ],
        [("SUBREDDIT: r/made\n\nTITLE: Rivers\n\nPOST: Long.\n\nTL;DR:", *ANSWERS)],
    ),
    "CarperAI/openai_summarize_comparisons": ([{"prompt": ASK, "chosen": GOOD, "rejected": BAD}], [PLAIN]),
    "prometheus-eval/Preference-Collection": (
        [
            {
                "orig_criteria": "x",
                "orig_instruction": ASK,
                "orig_response_A": BAD,
                "orig_response_B": GOOD,
                "orig_reference_answer": "y",
                "orig_preference": "B",
                "instruction": "You judge.",
                "output": "B",
            }
        ],
        [CHAT],
    ),
    "lmsys/chatbot_arena_conversations": (
        [
            {
                "question_id": "a1",
                "model_a": "m",
                "model_b": "n",
                "winner": winner,
                "conversation_a": USER + (YES if winner == "model_a" else NO),
                "conversation_b": USER + (NO if winner == "model_a" else YES),
                "turn": 1,
            }
            for winner in ("model_a", "model_b")
        ],
        [CHAT, CHAT],
    ),
    "LLaMA-Factory, Alpaca": (
        [
            {
                "instruction": "Compare.",
                "input": ASK,
                "chosen": GOOD,
                "rejected": BAD,
                "system": "Be brief.",
                "history": [["Do you know rivers?", "A few."]],
            }
        ],
        [
            (
                "\n\nSystem: Be brief.\n\nHuman: Do you know rivers?\n\nAssistant: A few."
                f"\n\nHuman: Compare.\n{ASK}\n\nAssistant:",
                *ANSWERS,
            )
        ],
    ),
    "LLaMA-Factory, ShareGPT (hiyouga/DPO-En-Zh-20k)": (
        [
            {
                "conversations": [turn("human", ASK)],
                "chosen": turn("gpt", GOOD),
                "rejected": turn("gpt", BAD),
                "system": "",
            }
        ],
        [CHAT],
    ),
    "LLaMA-Factory, comparisons": ([{"instruction": ASK, "input": "", "output": [GOOD, BAD]}], [CHAT]),
    "LLaMA-Factory, KTO": (
        [
            {"instruction": ASK, "input": "", "output": GOOD, "kto_tag": True},
            {"instruction": ASK, "input": "", "output": BAD, "kto_tag": False},
        ],
        [CHAT],
    ),
    "ms-swift, rejected_response": (
        [{"messages": SYSTEM + USER + YES, "rejected_response": BAD}],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "ms-swift, rejected_messages": (
        [{"messages": EARLIER + USER + YES, "rejected_messages": EARLIER + USER + NO}],
        [(LATER_PROMPT, *ANSWERS)],
    ),
    "ms-swift, KTO": ([{"messages": USER + YES, "label": True}, {"messages": USER + NO, "label": False}], [CHAT]),
    "OpenRLHF/preference_dataset_mixture2_and_safe_pku": ([{"chosen": USER + YES, "rejected": USER + NO}], [CHAT]),
    "trl-lib/kto-mix-14k": (
        [
            {"prompt": EARLIER + USER, "completion": NO, "label": False},
            {"prompt": EARLIER + USER, "completion": YES, "label": True},
        ],
        [(LATER_PROMPT, *ANSWERS)],
    ),
    "TRL, text": ([{"prompt": ASK, "chosen": f" {GOOD}", "rejected": f" {BAD}"}], [(ASK, *ANSWERS)]),
    "TRL, text without a prompt": (
        [{"chosen": f"{ASK} Well, the first.", "rejected": f"{ASK} Well, no idea."}],
        [(f"{ASK} Well, ", "the first.", "no idea.")],
    ),
    "HH-RLHF with the line ends of Windows": (
        [
            {
                "chosen": f"Human: {ASK}\r\n\r\nAssistant: I know.",
                "rejected": f"Human: {ASK}\r\n\r\nAssistant: I do not.",
            }
        ],
        [(f"Human: {ASK}\r\n\r\nAssistant:", " I know.", " I do not.")],
    ),
    "a system_message": (
        [{"system_message": "Be brief.", "prompt": ASK, "chosen": GOOD, "rejected": BAD}],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "a document that the prompt quotes": (
        [{"prompt": f"A river.\n{ASK}", "document": "A river.", "chosen": GOOD, "rejected": BAD}],
        [(f"A river.\n{ASK}", GOOD, BAD)],
    ),
    "TRL, messages": ([{"prompt": SYSTEM + USER, "chosen": YES, "rejected": NO}], [(SYSTEM_PROMPT, *ANSWERS)]),
    "a text prompt before messages that answer": ([{"prompt": ASK, "chosen": YES, "rejected": NO}], [CHAT]),
    "a list prompt before texts": ([{"prompt": USER, "chosen": GOOD, "rejected": BAD}], [CHAT]),
    "a prompt that the answers repeat": (
        [{"prompt": ASK, "chosen": f"{ASK} {GOOD}", "rejected": f"{ASK} {BAD}"}],
        [(ASK, *ANSWERS)],
    ),
    "a short one, in every row": (
        [{"prompt": "Sky", "chosen": "Sky blue", "rejected": "Sky red"}] * 3,
        [("Sky", " blue", " red")] * 3,
    ),
    "a short one, by chance": (
        [
            {"prompt": "Hi", "chosen": "Hi, you!", "rejected": "High time."},
            {"prompt": ASK, "chosen": GOOD, "rejected": BAD},
        ],
        [("Hi", "Hi, you!", "High time."), PLAIN],
    ),
    "a system prompt that the dialogues lack": (
        [{"system": "Be brief.", "chosen": USER + YES, "rejected": USER + NO}],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "a list prompt with the system prompt that the dialogues lack": (
        [{"prompt": SYSTEM + USER, "chosen": USER + YES, "rejected": USER + NO}],
        [(SYSTEM_PROMPT, *ANSWERS)],
    ),
    "columns of messages": (
        [
            {
                side: {"role": ["user", "assistant"], "content": [ASK, text]}
                for side, text in (("chosen", GOOD), ("rejected", BAD))
            }
        ],
        [CHAT],
    ),
    "scores of any number of responses": (
        [{"prompt": ASK, "responses": [WORSE, GOOD, BAD], "scores": [0.0, 2.0, 0.5]}],
        [(ASK, GOOD, BAD, 1.5), (ASK, GOOD, WORSE, 2.0), (ASK, BAD, WORSE, 0.5)],
    ),
}

_PAIR = {"chosen": GOOD, "rejected": BAD}
_CALL = [{**said("assistant", ""), "tool_calls": [{"function": {"name": name}}]} for name in ("find", "guess")]
REFUSED = {
    "a context of no known place": ({**_PAIR, "prompt": ASK, "context": "x"}, "has 'context', and nothing says where"),
    "a history that is a text": ({**_PAIR, "prompt": ASK, "history": "x"}, "has 'history', and nothing says where"),
    "two questions": (
        {**_PAIR, "question": ASK, "query": "x"},
        "texts that may all be the prompt, 'question', 'query'",
    ),
    "no prompt, and a text that may be it": ({**_PAIR, "ask": ASK}, "has no 'prompt', and 'ask' may be it"),
    "messages without a prompt": ({"chosen": YES, "rejected": NO, "ask": ASK}, "has no 'prompt', and 'ask' may be it"),
    "no prompt in this row": ({**_PAIR, "prompt": None}, "has no prompt. Give one"),
    "a system prompt alone": ({**_PAIR, "system": "x"}, "the prompt ends with a message of 'system'"),
    "two system prompts": (
        {**_PAIR, "question": ASK, "system": "x", "system_prompt": "y"},
        "two system prompts that differ",
    ),
    "another system prompt": (
        {"system": "x", "chosen": SYSTEM + USER + YES, "rejected": SYSTEM + USER + NO},
        "two system prompts that differ",
    ),
    "another prompt than in the dialogues": (
        {"prompt": "Elsewhere", "chosen": USER + YES, "rejected": USER + NO},
        "'prompt' is not in the dialogues",
    ),
    "other turns than in the dialogues": (
        {"prompt": [*EARLIER, said("user", "x")], "chosen": USER + YES, "rejected": USER + NO},
        "the turns before the answers are not those",
    ),
    "two dialogues": (
        {**_PAIR, "messages": USER, "conversations": EARLIER + USER},
        "dialogues that differ, 'messages', 'conversations'",
    ),
    "dialogues that share no prompt": (
        {"chosen": USER + YES, "rejected": [said("user", "x"), *NO]},
        "must begin with a message of 'assistant', after a prompt that they share",
    ),
    "a dialogue that is answered already": (
        {**_PAIR, "messages": USER + YES},
        "the prompt ends with a message of 'assistant'",
    ),
    "two judges (PKU-Alignment/PKU-SafeRLHF)": (
        {"prompt": ASK, "response_0": GOOD, "response_1": BAD, "better_response_id": 0, "safer_response_id": 1},
        "is judged twice, by 'better_response_id' and 'safer_response_id'",
    ),
    "summaries without texts": (
        {"info": {"post": "x", "title": "y", "subreddit": "z"}, "summaries": [{"x": 1}, {"x": 2}], "choice": 0},
        "'summaries' must be a text or a list of messages; got null",
    ),
    "three summaries": (
        {"info": {"post": "x", "title": "y", "subreddit": "z"}, "summaries": [{"text": "x"}] * 3, "choice": 0},
        "'summaries' must be a list of two",
    ),
    "an unknown verdict": (
        {"prompt": ASK, "response_0": GOOD, "response_1": BAD, "better_response_id": 2},
        "'better_response_id' must be one of 0, 1; got a number",
    ),
    "a prompt within the answers": (
        {"prompt": ASK, "chosen": f"<user>{ASK}<bot>{GOOD}", "rejected": f"<user>{ASK}<bot>{BAD}"},
        "the answers hold the prompt within them",
    ),
    "messages as a text": (
        {"prompt": ASK, "chosen": "[{'content': 'x', 'role': 'user'}]", "rejected": BAD},
        "'chosen' is a list of messages that was written as a text",
    ),
    "a rank that is missing": (
        {"prompt": ASK, "responses": [GOOD, BAD], "scores": [1.0, None]},
        "'responses' must have a finite score for each answer",
    ),
    "a speaker nobody knows": (
        {"conversations": [turn("bird", ASK)], **_PAIR},
        "'conversations' must hold turns from human, user, gpt",
    ),
    "a list prompt that goes on after what the dialogues share": (
        {"prompt": EARLIER + USER, "chosen": EARLIER[:1] + YES, "rejected": EARLIER[:1] + NO},
        "the turns before the answers are not those that the answers begin with",
    ),
    "messages of another dialogue": (
        {"messages": EARLIER + USER + YES, "chosen": EARLIER[:1] + YES, "rejected": EARLIER[:1] + NO},
        "the turns before the answers are not those that the answers begin with",
    ),
    "roles in capitals": (
        {"prompt": [said("User", ASK)], "chosen": [said("Assistant", GOOD)], "rejected": [said("Assistant", BAD)]},
        "the answers must begin with a message of 'assistant'",
    ),
    "a question that the dialogue answers": (
        {**_PAIR, "prompt": ASK, "messages": USER + YES},
        "'prompt' is in the dialogue, which has answered it",
    ),
    "tool calls, which a text does not show": (
        {"chosen": [*USER, _CALL[0], *YES], "rejected": [*USER, _CALL[1], *NO]},
        "'chosen' holds messages with 'tool_calls'",
    ),
    "thoughts beside the text": (
        {"prompt": USER, "chosen": [{**YES[0], "reasoning_content": "x"}], "rejected": NO},
        "'chosen' holds messages with 'reasoning_content'",
    ),
    "an image beside the texts": (
        {**_PAIR, "prompt": ASK, "image": {"bytes": "x"}},
        "holds an 'image', which is not a text",
    ),
    "messages as NumPy writes them": (
        {**_PAIR, "prompt": "array([{'content': 'x', 'role': 'user'}], dtype=object)"},
        "'prompt' is a list of messages that was written as a text",
    ),
    "a message as JSON writes it": (
        {**_PAIR, "prompt": '{"name": "x", "role": "user", "content": "y"}'},
        "'prompt' is a list of messages that was written as a text",
    ),
    "a prompt repeated with other line ends": (
        {"prompt": f"One.\r\n{ASK}", "chosen": f"One.\n{ASK} {GOOD}", "rejected": f"One.\n{ASK} {BAD}"},
        "the answers hold the prompt within them",
    ),
    "a prompt repeated in other code points": (
        {"prompt": f"Caf\u00e9. {ASK}", "chosen": f"Cafe\u0301. {ASK} {GOOD}", "rejected": f"Cafe\u0301. {ASK} {BAD}"},
        "the answers hold the prompt within them",
    ),
    "a persona": ({**_PAIR, "prompt": ASK, "persona": "x"}, "has 'persona', and nothing says where"),
    "images": ({**_PAIR, "prompt": [said("user", [{"type": "image"}])]}, "'prompt' must hold messages with the texts"),
    "a label that is none": ({"prompt": ASK, "completion": GOOD, "label": "yes"}, "true or false, 1 or 0; got a text"),
    "a label of -1": ({"prompt": ASK, "completion": GOOD, "label": -1}, "true or false, 1 or 0; got -1"),
    "no label": ({"prompt": ASK, "completion": GOOD, "label": None}, "true or false, 1 or 0; got null"),
    "a probability of 2": ({**_PAIR, "prompt": ASK, "label": 2}, "from 0 to 1; got 2"),
    "a margin of nothing": ({**_PAIR, "prompt": ASK, "margin": None}, "'margin' must hold finite numbers; got null"),
    "a margin that is a text": (
        {**_PAIR, "prompt": ASK, "margin": "1"},
        "'margin' must hold finite numbers; got a text",
    ),
    "an infinite weight": (
        {**_PAIR, "prompt": ASK, "chosen_weights": [1.0, float("inf")]},
        "'chosen_weights' must hold finite numbers; got inf",
    ),
    "no weights": (
        {**_PAIR, "prompt": ASK, "chosen_weights": None},
        "'chosen_weights' must be a list of numbers; got null",
    ),
    "nothing known": ({"text": "x", "vote": 1}, "has no 'chosen'; it has 'text', 'vote'. docs/data.md lists"),
}
"""Rows that are not certain, and what the refusal says."""
