"""The engine in readable Python: one instruction after another, tokens in queues.

`plait.sim.timeline.engine.run` gives the same numbers a thousand times faster; a test holds the two
to equality. Times do not depend on the order in which ready queues are looked at: an instruction
takes the oldest token of each queue it waits for, and every queue runs in program order.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from plait.sim.compiler.instruction import Program, Queue

__all__ = ["simulate"]


def simulate(
    program: Program, durations: Sequence[float], issue: float = 0.0
) -> list[tuple[float, float] | None]:
    """Give (start, end) of every instruction; None for what waits for ever."""
    times: list[tuple[float, float] | None] = [None] * len(program)
    tokens: dict[tuple[Queue, Queue], deque[float]] = defaultdict(deque)
    free = dict.fromkeys(Queue, 0.0)
    left: dict[Queue, deque[int]] = {queue: deque() for queue in Queue}
    for index, queue in enumerate(program["queue"]):
        left[Queue(queue)].append(index)

    def step(queue: Queue) -> bool:
        """Run the queue's next instruction if its tokens are there."""
        if not left[queue]:
            return False
        one = program.instruction(left[queue][0])
        givers = [giver for giver in Queue if one.wait >> giver & 1]
        if not all(tokens[giver, queue] for giver in givers):
            return False
        index = left[queue].popleft()
        start = max([free[queue], *(tokens[giver, queue].popleft() for giver in givers)])
        end = start + issue + durations[index]
        times[index] = (start, end)
        free[queue] = end
        for taker in Queue:
            if one.release >> taker & 1:
                tokens[queue, taker].append(end)
        return True

    while any(step(queue) for queue in Queue):
        pass
    return times
