from witness._maths import exp, logistic, mp, ratios, rows
from witness._rows import P1, Row


def cosine(x, y):
    """0 where one of them is the zero vector."""
    size = mp.sqrt(mp.fsum(p * p for p in x)) * mp.sqrt(mp.fsum(q * q for q in y))
    return mp.fsum(p * q for p, q in rows(x, y)) / size if size else mp.zero


def formula(
    chosen,
    rejected,
    ref_chosen,
    ref_rejected,
    beta,
    temperature,
    diagonal_weight=None,
    prompt_embedding=None,
):
    a, b = rows(*ratios(chosen, rejected, ref_chosen, ref_rejected))
    count, out = len(a), []
    for i in range(count):
        w, m = [mp.one] * count, [mp.one / count] * count
        if prompt_embedding is not None:
            near = [exp(cosine(prompt_embedding[i], x) / temperature) for x in prompt_embedding]
            w = [x / mp.fsum(near) for x in near]
        if diagonal_weight is not None and count > 1:
            m = [diagonal_weight if j == i else (1 - diagonal_weight) / (count - 1) for j in range(count)]
        out.append(mp.fsum(m[j] * logistic(beta * w[j] * (a[i] - b[j])) for j in range(count)))
    return out


# s( ) is the sigmoid
ROWS = [
    # a = (1, 0), b = (0, 2): z = 0.5 (1, -1) and 0.5 (0, -2); (softplus(-0.5) + softplus(0.5)) / 2 and (log 2 +
    # softplus(1)) / 2; -(s(-0.5) + s(0.5)) / 4 and -(s(0) + s(1)) / 4, of the rejected (s(-0.5) + s(0)) / 4 and (s(0.5) +
    # s(1)) / 4
    Row(
        item="Relative PO",
        fields={"chosen": [-10, -8], "rejected": [-12, -7], "ref_chosen": [-11, -8], "ref_rejected": [-12, -9]},
        params={"beta": 0.5, "temperature": 0.5, "diagonal_weight": None},
        losses=[0.72407698418, 1.00320443404],
        gradients={
            "chosen": [-0.25, -0.307764644658],
            "rejected": [0.2193851672, 0.338379477458],
            "ref_chosen": [0.25, 0.307764644658],
            "ref_rejected": [-0.2193851672, -0.338379477458],
        },
    ),
    # orthogonal prompts, cosines 1 and 0, and T = 1 / log 3: w = (3, 1) / 4 and (1, 3) / 4; a - b = (2, -2) and (0, -4)
    # make z = (1.5, -0.5) and (0, -3); (softplus(-1.5) + softplus(0.5)) / 2 and (log 2 + softplus(3)) / 2; -(3 s(-1.5) +
    # s(0.5)) / 8 and -(s(0) + 3 s(3)) / 8, of the rejected (3 s(-1.5) + s(0)) / 8 and (s(0.5) + 3 s(3)) / 8
    Row(
        item="Relative PO, orthogonal prompts",
        fields={
            "chosen": [-9, -9],
            "rejected": [-7, -6],
            "ref_chosen": [-11, -9],
            "ref_rejected": [-7, -10],
            "prompt_embedding": [[3, 4], [-8, 6]],
        },
        params={"beta": 1.0, "temperature": 0.9102392266268373, "diagonal_weight": None},
        losses=[0.587745131081, 1.87086726607],
        gradients={
            "chosen": [-0.146216987828, -0.419715297558],
            "rejected": [0.130909571427, 0.435022713959],
            "ref_chosen": [0.146216987828, 0.419715297558],
            "ref_rejected": [-0.130909571427, -0.435022713959],
        },
    ),
    # cosines (1, -1, 0), (-1, 1, 0) and, of the zero vector, (0, 0, 0), again T = 1 / log 3: w = (3, 1/3, 1) / (13/3) =
    # (9, 1, 3) / 13, (1, 9, 3) / 13 and (1, 1, 1) / 3, β w = (0.9, 0.1, 0.3), (0.1, 0.9, 0.3) and 1.3 (1, 1, 1) / 3; a =
    # (1, -1, 0), b = (0, -3, 3): z = (0.9, 0.4, -0.6), (-0.1, 1.8, -1.2) and (0, 1.3, -1.3); m = 1/2 at its own, else 1/4:
    # the first is softplus(-0.9) / 2 + (softplus(-0.4) + softplus(0.6)) / 4, its slope -0.9 s(-0.9) / 2 - (0.1 s(-0.4) +
    # 0.3 s(0.6)) / 4, that of its rejected 0.9 s(-0.9) / 2 + (0.1 s(0.1) + 1.3 s(0) / 3) / 4
    Row(
        item="Relative PO, diagonal weight",
        fields={
            "chosen": [-10, -10, -8],
            "rejected": [-12, -12, -7],
            "ref_chosen": [-11, -9, -8],
            "ref_rejected": [-12, -9, -10],
            "prompt_embedding": [[3, 4], [-6, -8], [0, 0]],
        },
        params={"beta": 1.3, "temperature": 0.9102392266268373, "diagonal_weight": 0.5},
        losses=[0.558202738088, 0.628408587116, 1.00404313551],
        gradients={
            "chosen": [-0.188529755283, -0.134596817655, -0.247632123163],
            "rejected": [0.197363870172, 0.0970669978728, 0.276327828055],
            "ref_chosen": [0.188529755283, 0.134596817655, 0.247632123163],
            "ref_rejected": [-0.197363870172, -0.0970669978728, -0.276327828055],
        },
    ),
    # a single pair has all the weight, whatever its own is: log(1 + e^-1)
    Row(
        item="Relative PO of one",
        fields={**P1, "prompt_embedding": [[3, -4]]},
        params={"beta": 0.5, "temperature": 0.5, "diagonal_weight": 0.0},
        losses=[0.313261687518],
        gradients={"chosen": [-0.134470710685], "rejected": [0.134470710685]},
    ),
]
