from witness._maths import margins, mean, mixed, sigma, spread_of
from witness._rows import MARGINS, P1, P1P2, Row


def formula(chosen, rejected, ref_chosen, ref_rejected, beta):
    x = [20 * beta * h for h in margins(chosen, rejected, ref_chosen, ref_rejected)]
    q = (95 * spread_of(x) * mean([sigma(-h) for h in x]) + 5 * sigma(mean(x))) / 100
    return [mixed(sigma(abs(h - q) / 10), h / 20) for h in x]


# s( ) is the sigmoid
ROWS = [
    # spread 3.5 / sqrt 2, mean of s(-x) 0.468388699108: q = 0.95 times both + 0.05 s(0.25) = 1.1293515694, w = s(0.1
    # |x - q|) = (0.521752471669, 0.565357681014); loss' = -0.05 (w s(-0.05 x) + 1 - w) + w' D with w' = ±0.1 w (1 - w),
    # and -sum w' D = -0.00206646298161 times dq/dx = 0.95 * 0.468388699108 (x - 0.25) / spread - 0.95 spread s(x) s(-x) / 2
    # + 0.05 s(0.25) s(-0.25) / 2
    Row(
        item="AQFL",
        fields=P1P2,
        params={"beta": 0.05},
        losses=[0.766638325626, 0.880714912537],
        gradients={
            "chosen": [-0.0430903820036, -0.0269515867882],
            "rejected": [0.0430903820036, 0.0269515867882],
            "ref_chosen": [0.0430903820036, 0.0269515867882],
        },
    ),
    # three, x = 4 h = (8, -6, 12) and z = x / 20: spread 9.45163125251, mean of s(-x) 0.332622957049: q = 3.03617226137,
    # w = (0.621608893847, 0.711692276123, 0.710205594713)
    Row(
        item="AQFL of three",
        fields={"chosen": [2, -1.5, 3], **MARGINS},
        params={"beta": 0.2},
        losses=[0.545929507263, 0.982838069593, 0.426624152169],
        gradients={"chosen": [-0.135481262904, -0.0970103613881, -0.109067113068]},
    ),
    # one pair has no spread: q = 0.05 s(2), w = s(0.1 (2 - q)) = 0.548743700419; the slope has 1 - 0.05 s(2) s(-2) of w'
    Row(
        item="AQFL of one",
        fields=P1,
        params={"beta": 0.05},
        losses=[0.759739277409],
        gradients={"chosen": [-0.0418921752906], "rejected": [0.0418921752906]},
    ),
    # nor have two equal pairs, where the spread has no slope; x = 20 and the hinge is at its kink: with w = s(0.1 (20 -
    # 0.05 s(20))) = 0.880271109712, w softplus(-1), and -0.5 w s(-1) + 0.1 w (1 - w) softplus(-1) 10 (1 - 0.05 s(20) s(-20))
    Row(
        item="AQFL of equals",
        fields={"chosen": [2, 1], "rejected": [0, -1], "ref_chosen": [0, 0], "ref_rejected": [0, 0]},
        params={"beta": 0.5},
        losses=[0.275755213302, 0.275755213302],
        gradients={"chosen": [-0.085354816042, -0.085354816042]},
    ),
]
