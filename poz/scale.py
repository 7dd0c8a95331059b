"""What a language model's head costs on many devices: a model of bytes, which `poz.bench.wire` counts at 2 and 4 processes.

It knows sizes and bandwidths and nothing else: no latency, no overlap with computation, no congestion. Collectives go
round a ring, the least that moves over a wire: an all-reduce of B bytes over p devices sends 2 (p - 1) / p B from each, an
all-gather to B bytes and a reduce-scatter from B bytes (p - 1) / p B.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

STATISTICS = 24
"""Bytes per token that vocabulary shards reduce in a forward pass: the largest logit, a sum, the target's logit, in float64."""


class Head(NamedTuple):
    """A head, and what is asked of it in a step.

    Attributes:
        vocabulary: V.
        hidden: D.
        tokens: Of each device in a step, which take part in the loss.
        weight: Bytes of a number of the weight, and of a hidden state.
        gradient: Bytes of a number of the weight's gradient as it is reduced.
        state: Bytes that the optimiser keeps per parameter, a wider copy of it included.
    """

    vocabulary: int
    hidden: int
    tokens: int = 16384
    weight: int = 2
    gradient: int = 2
    state: int = 12

    @property
    def size(self) -> int:
        """Parameters."""
        return self.vocabulary * self.hidden


class Machine(NamedTuple):
    """Devices in nodes.

    Attributes:
        devices: In all, a multiple of `node` or less than it.
        node: Devices of a node.
        inside: Bytes per second that a device sends to others of its node.
        across: Bytes per second that a device sends to other nodes.
    """

    devices: int
    node: int = 8
    inside: float = 450e9
    across: float = 50e9


class Cost(NamedTuple):
    """Of a layout, for each device and step.

    Attributes:
        layout: Its name.
        inside: Bytes that it sends within its node.
        across: Bytes that it sends beyond.
        memory: Bytes of weight, gradient and optimiser, with what stands beside them at the worst moment.
        seconds: On the wires.
    """

    layout: str
    inside: float
    across: float
    memory: float
    seconds: float


def reduced(size: float, over: int) -> float:
    """Bytes that a device sends in an all-reduce."""
    return 2 * shared(size, over)


def shared(size: float, over: int) -> float:
    """Bytes that a device sends in an all-gather to, or a reduce-scatter from, that many bytes."""
    return size * (over - 1) / over


def costs(head: Head, machine: Machine) -> Iterator[Cost]:
    """Each layout that poz takes part in.

    * `replicated`: each device has the head, as under DDP; its gradient is all-reduced.
    * `fsdp`: `poz.torch.LogpsHead` under `fully_shard` over all devices, gathered for the forward pass and kept for the
      backward one (`reshard_after_forward=False`); the gradient is reduce-scattered.
    * `fsdp, gathered twice`: the same, given up between the passes.
    * `hybrid`: sharded within a node, replicated over nodes.
    * `vocabulary`: `linear_logps(group=)`: a node's devices hold a part of the vocabulary each and gather their rows; over
      nodes it is replicated.
    * `vocabulary, body too`: the same below a tensor-parallel body, whose rows are alike on a node already.

    Raises:
        ValueError: Sizes or bandwidths that are not positive, or devices that do not fill their nodes.
    """
    for name, number in (*head._asdict().items(), *machine._asdict().items()):
        if not number > 0:
            raise ValueError(f"{name} must be positive; got {number}.")
    node = min(machine.node, machine.devices)
    if machine.devices % node:
        raise ValueError(f"{machine.devices} devices do not fill nodes of {node}.")
    nodes, whole = machine.devices // node, machine.devices

    def cost(layout: str, memory: float, near: float = 0.0, far: float = 0.0, flat: float = 0.0) -> Cost:
        """`flat` goes round all devices, so at the pace of the wires between nodes where there are any."""
        near, far = (near + flat, far) if nodes == 1 else (near, far + flat)
        return Cost(layout, near, far, memory, near / machine.inside + far / machine.across)

    parameters, weights, gradients = head.size, head.size * head.weight, head.size * head.gradient
    kept = parameters * (head.weight + head.gradient + head.state)
    yield cost("replicated", kept, flat=reduced(gradients, whole))
    for layout, times in (("fsdp", 1), ("fsdp, gathered twice", 2)):
        moved = shared(times * weights + gradients, whole)
        yield cost(layout, kept / whole + weights + gradients, flat=moved)
    over_nodes = reduced(gradients / node, nodes)
    yield cost("hybrid", kept / node + weights + gradients, shared(weights + gradients, node), over_nodes)
    rows = node * head.tokens
    statistics, states = reduced(rows * STATISTICS, node), reduced(4 * rows * head.hidden, node)
    gathered = shared(rows * head.hidden * head.weight, node)
    held = rows * head.hidden * (head.weight + 4)
    yield cost("vocabulary", kept / node + held, statistics + states + gathered, over_nodes)
    yield cost("vocabulary, body too", kept / node + held, statistics + states, over_nodes)


def best(found: list[Cost], room: float) -> Cost | None:
    """The one with the least time on the wires that fits into `room` bytes; None where none does."""
    return min((one for one in found if one.memory <= room), key=lambda one: one.seconds, default=None)
