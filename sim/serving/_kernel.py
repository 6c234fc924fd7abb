"""The events of a run, compiled: arrivals, ends of iterations, losses of devices.

An iteration is one pass of an instance over its batch: some prompts, or parts of them, and one
token of every decoding request. What happens at one time happens in this order: losses, ends of
iterations by instance, arrivals by row, starts of iterations by instance: so a run repeats exactly.

The same code runs uncompiled (NUMBA_DISABLE_JIT=1): its readable twin, and how it is debugged.
"""

from __future__ import annotations

import math

from numba import njit

from plait.sim.serving._lines import OPTIONS, gap_bin, inner, line, plane
from plait.sim.serving._state import DECODE, MIXED, PROMPT, TIMELINE_COLUMNS

__all__ = ["DONE", "FULL", "NEED_ARRIVALS", "NEED_SLOTS", "advance"]

DONE, NEED_ARRIVALS, NEED_SLOTS, FULL = range(4)

(RUNNING, WAITING, USED, BUSY, DOWN, TOKENS, PROMPT_TOKENS, ARRIVED, FINISHED, LOST) = range(
    len(TIMELINE_COLUMNS)
)


@njit(cache=True, **OPTIONS)
def advance(rules, tables, state, arrivals, is_last):
    """Run until everything is served, or until the caller must give or take something."""
    g, inst, events = state.g[0], state.instances, state.events
    while True:
        if g["finished"] + state.running.size > len(state.finished):
            return FULL
        more = g["next_arrival"] < len(arrivals)
        if not more and not is_last:
            return NEED_ARRIVALS
        now = math.inf
        if more:
            now = arrivals[g["next_arrival"]]["arrival_s"]
        if g["next_event"] < len(events) and (now < math.inf or g["in_flight"] > 0):
            now = min(now, events[g["next_event"]]["time_s"])
        for i in range(len(inst)):
            now = min(now, _wakes(state, i))
        if now == math.inf:
            return DONE
        now = max(now, g["now_s"])
        _account(state, now)
        while g["next_event"] < len(events) and events[g["next_event"]]["time_s"] <= now:
            _change(state, events[g["next_event"]])
            g["next_event"] += 1
        for i in range(len(inst)):
            if inst[i]["busy"] and inst[i]["end_s"] <= now:
                _finish(rules, state, i)
        while g["next_arrival"] < len(arrivals):
            if arrivals[g["next_arrival"]]["arrival_s"] > now:
                break
            if g["free"] < 0:
                return NEED_SLOTS
            _arrive(state, arrivals[g["next_arrival"]])
            g["next_arrival"] += 1
        if g["next_arrival"] == len(arrivals) and not is_last:
            return NEED_ARRIVALS  # before anything starts: some may arrive at this very time
        for i in range(len(inst)):
            if not inst[i]["busy"] and inst[i]["table"] >= 0:
                _start(rules, tables, state, i)


@inner
def _wakes(state, i):
    """When an instance has something to do next."""
    inst = state.instances[i]
    if inst["busy"]:
        return inst["end_s"]
    if inst["table"] < 0 or inst["stuck"]:
        return math.inf
    if inst["running"] > 0:
        return state.g[0]["now_s"]
    if inst["waiting"] > 0:
        return state.slots[inst["head"]]["ready_s"]
    return math.inf


# --- arrivals and queues -----------------------------------------------------------------------


@inner
def _arrive(state, row):
    g = state.g[0]
    s = g["free"]
    slot = state.slots[s]
    g["free"] = slot["next"]
    slot["id"], slot["arrival_s"] = row["id"], row["arrival_s"]
    slot["prompt"], slot["generated"] = row["prompt"], row["generated"]
    slot["done"] = slot["blocks"] = slot["preemptions"] = slot["chunk"] = 0
    slot["start_s"] = slot["first_s"] = slot["last_s"] = -1.0
    slot["longest_s"] = 0.0
    g["in_flight"] += 1
    g["most_in_flight"] = max(g["most_in_flight"], g["in_flight"])
    state.timeline[_bin(state), ARRIVED] += 1
    _queue_for_prefill(state, s, False)


@inner
def _queue_for_prefill(state, s, first):
    """Let a request wait for the prefill of all its tokens, before all others or after them."""
    slot = state.slots[s]
    slot["goal"] = slot["prompt"] + slot["done"]
    slot["filled"] = slot["length"] = 0
    slot["ready_s"] = state.g[0]["now_s"]
    i = _least_loaded(state, False)
    state.instances[i]["load"] += slot["goal"] + 1
    if first:
        _push_front(state, i, s)
    else:
        _push_back(state, i, s)


@inner
def _least_loaded(state, for_decode):
    """The instance of the pool with the fewest tokens to do that is up; ties to the lowest."""
    inst = state.instances
    best = -1
    for i in range(len(inst)):
        if inst[i]["role"] != MIXED and (inst[i]["role"] == DECODE) != for_decode:
            continue
        if for_decode and inst[i]["role"] == MIXED:
            continue
        if best >= 0:
            up, best_up = inst[i]["table"] >= 0, inst[best]["table"] >= 0
            if up < best_up or (up == best_up and inst[i]["load"] >= inst[best]["load"]):
                continue
        best = i
    return best


@inner
def _push_back(state, i, s):
    inst, slots = state.instances[i], state.slots
    slots[s]["next"] = -1
    if inst["waiting"] == 0:
        inst["head"] = s
    else:
        slots[inst["tail"]]["next"] = s
    inst["tail"] = s
    inst["waiting"] += 1
    inst["stuck"] = 0


@inner
def _push_front(state, i, s):
    inst = state.instances[i]
    state.slots[s]["next"] = inst["head"] if inst["waiting"] > 0 else -1
    if inst["waiting"] == 0:
        inst["tail"] = s
    inst["head"] = s
    inst["waiting"] += 1
    inst["stuck"] = 0


@inner
def _pop(state, i):
    inst = state.instances[i]
    s = inst["head"]
    inst["head"] = state.slots[s]["next"]
    inst["waiting"] -= 1
    return s


# --- memory ------------------------------------------------------------------------------------


@inner
def _free_blocks(state, i):
    inst = state.instances[i]
    lent = state.borrowed[:, i].sum()
    return inst["blocks"] + state.borrowed[i].sum() - lent - inst["used"]


@inner
def _has_room(rules, state, i, blocks):
    """Say whether there are free blocks, after borrowing what is missing if that is allowed."""
    missing = blocks - _free_blocks(state, i)
    if missing <= 0:
        return True
    if not rules.lends:
        return False
    creditor, most = -1, 0
    for j in range(len(state.instances)):
        other = state.instances[j]
        if j == i or other["table"] < 0 or other["waiting"] > 0 or state.borrowed[j].sum() > 0:
            continue
        free = _free_blocks(state, j) - int(rules.reserve * other["blocks"])
        if free > most:
            creditor, most = j, free
    if creditor < 0 or most < missing:
        return False
    state.borrowed[i, creditor] += missing
    return True


@inner
def _release(state, i, s):
    """Free the blocks of a request; what is borrowed goes back first."""
    slot, inst = state.slots[s], state.instances[i]
    inst["used"] -= slot["blocks"]
    slot["blocks"] = 0
    inst["stuck"] = 0
    for j in range(len(state.instances)):
        back = min(state.borrowed[i, j], _free_blocks(state, i)) if state.borrowed[i, j] else 0
        if back > 0:
            state.borrowed[i, j] -= back
            state.instances[j]["stuck"] = 0


@inner
def _evict(state, i):
    """Take the youngest running request off; its KV is lost and will be computed again."""
    inst = state.instances[i]
    inst["running"] -= 1
    _lose(state, i, state.running[i, inst["running"]])


@inner
def _lose(state, i, s):
    """Queue a request that has lost its KV; the caller takes it off the running ones."""
    inst, slot = state.instances[i], state.slots[s]
    if slot["filled"] == slot["goal"]:
        inst["context"] -= slot["length"]
    inst["load"] -= slot["goal"] - slot["filled"] + 1
    slot["chunk"] = 0
    slot["preemptions"] += 1
    state.g[0]["preemptions"] += 1
    state.timeline[_bin(state), LOST] += 1
    _release(state, i, s)
    _queue_for_prefill(state, s, True)


# --- the start of an iteration -----------------------------------------------------------------


@inner
def _start(rules, tables, state, i):
    inst = state.instances[i]
    if inst["running"] == 0 and inst["waiting"] == 0:
        return
    whole = rules.chunk_tokens == 0
    if not whole:
        _grow(rules, state, i)
    decoding = 0
    for k in range(inst["running"]):
        slot = state.slots[state.running[i, k]]
        decoding += slot["filled"] == slot["goal"]
    budget = rules.max_batch_tokens if whole else max(rules.chunk_tokens - decoding, 0)
    prefilled, attention = _resume(rules, tables, state, i, budget)
    prefilled, attention = _admit(rules, tables, state, i, budget, prefilled, attention)
    inst["decodes"] = not (whole and prefilled > 0)
    if inst["decodes"] and whole:
        _grow(rules, state, i)
    batch, context = 0, inst["context"]
    for k in range(inst["running"]):
        slot = state.slots[state.running[i, k]]
        batch += slot["filled"] == slot["goal"]
    if prefilled == 0 and batch == 0:
        comes = inst["waiting"] > 0 and state.slots[inst["head"]]["ready_s"] > state.g[0]["now_s"]
        inst["stuck"] = 0 if comes else 1
        return
    batch *= inst["decodes"]
    seconds = _step(rules, tables, state, i, prefilled, attention, batch, context + batch)
    inst["busy"] = 1
    inst["start_s"] = state.g[0]["now_s"]
    inst["end_s"] = inst["start_s"] + seconds
    inst["iterations"] += 1
    if batch > 0:
        state.g[0]["decode_steps"] += 1
        state.g[0]["decode_tokens"] += batch


@inner
def _grow(rules, state, i):
    """Give every decoding request room for its next token; without room the youngest goes."""
    inst, k = state.instances[i], 0
    while k < inst["running"]:
        slot = state.slots[state.running[i, k]]
        full = slot["length"] + 1 > slot["blocks"] * rules.block_tokens
        if full and slot["filled"] == slot["goal"]:
            if not _has_room(rules, state, i, 1):
                _evict(state, i)  # perhaps this very one: then k is the end
                continue
            slot["blocks"] += 1
            inst["used"] += 1
        k += 1


@inner
def _resume(rules, tables, state, i, budget):
    """Go on with prompts that were begun: give the tokens and the seconds of their attention."""
    inst, tokens, attention = state.instances[i], 0, 0.0
    for k in range(inst["running"]):
        slot = state.slots[state.running[i, k]]
        rest = slot["goal"] - slot["filled"]
        if rest > 0:
            slot["chunk"] = min(rest, budget - tokens) if rules.chunk_tokens else rest
            tokens += slot["chunk"]
            attention += _chunk_attention(tables, inst["table"], slot)
    return tokens, attention


@inner
def _admit(rules, tables, state, i, budget, tokens, attention):
    """Admit waiting requests in their order, until one does not fit."""
    inst, now = state.instances[i], state.g[0]["now_s"]
    reserve = int(rules.reserve * inst["blocks"])
    while inst["waiting"] > 0 and inst["running"] < rules.max_batch:
        s = inst["head"]
        slot = state.slots[s]
        rest = slot["goal"] - slot["filled"]
        if slot["ready_s"] > now:
            break
        if rest > 0 and tokens > 0 and tokens + (rest if rules.chunk_tokens == 0 else 1) > budget:
            break
        if rules.chunk_tokens and rest > 0 and budget == 0:
            break
        kept = slot["goal"] if rest > 0 else slot["length"] + 1
        blocks = -(-kept // rules.block_tokens)
        spare = reserve if inst["running"] > 0 else 0
        if not _has_room(rules, state, i, blocks + spare):
            break
        _pop(state, i)
        slot["blocks"] = blocks
        inst["used"] += blocks
        slot["device"] = slot["id"] % inst["devices"]
        if slot["start_s"] < 0:
            slot["start_s"] = now
        state.running[i, inst["running"]] = s
        inst["running"] += 1
        if rest > 0:
            slot["chunk"] = min(rest, budget - tokens) if rules.chunk_tokens else rest
            tokens += slot["chunk"]
            attention += _chunk_attention(tables, inst["table"], slot)
        else:
            inst["context"] += slot["length"]
    return tokens, attention


# --- how long it takes -------------------------------------------------------------------------


@inner
def _step(rules, tables, state, i, prefilled, attention, batch, context):
    """Seconds of an iteration: ``context`` is the sum over the decoding requests."""
    table = state.instances[i]["table"]
    seconds = attention
    if prefilled > 0:
        seconds += line(tables.tokens, tables.prefill_other[table], prefilled + batch)
        seconds = max(seconds, prefilled * rules.send_s_per_token)
    elif batch > 0:
        seconds += line(tables.batch, tables.decode_other[table], batch)
    if batch > 0:
        if rules.lends:
            borrowed = state.borrowed[i].sum()
            hosted = _hosted_tokens(rules, state, i)
            context += hosted - min(borrowed * rules.block_tokens, context - batch)
            if borrowed > 0:
                seconds += rules.borrow_s + batch * rules.borrow_s_per_request
        seconds += plane(
            tables.batch, tables.context, tables.decode_attention[table], batch, context / batch
        )
    return seconds


@inner
def _hosted_tokens(rules, state, i):
    """Tokens of others in this instance's memory, no more than the others have."""
    tokens = 0
    for j in range(len(state.instances)):
        lent = state.borrowed[j, i] * rules.block_tokens
        tokens += min(lent, state.instances[j]["context"])
    return tokens


@inner
def _chunk_attention(tables, table, slot):
    """A chunk's share of the attention of its whole prompt."""
    if slot["chunk"] == 0:
        return 0.0
    values = tables.prefill_attention[table]
    end = line(tables.lengths, values, slot["filled"] + slot["chunk"])
    if slot["filled"] == 0:
        return end
    return end - line(tables.lengths, values, slot["filled"])


# --- the end of an iteration -------------------------------------------------------------------


@inner
def _finish(rules, state, i):
    inst, g = state.instances[i], state.g[0]
    kept, count = 0, inst["running"]
    row = state.timeline[_bin(state)]
    inst["busy"] = 0
    inst["busy_s"] += inst["end_s"] - inst["start_s"]
    for k in range(count):
        s = state.running[i, k]
        slot = state.slots[s]
        chunk, gives = slot["chunk"], False
        if slot["filled"] < slot["goal"]:
            slot["filled"] += chunk
            slot["chunk"] = 0
            inst["load"] -= chunk
            g["prompt_tokens"] += chunk
            row[PROMPT_TOKENS] += chunk
            if slot["filled"] == slot["goal"]:
                slot["length"] = slot["goal"]
                inst["context"] += slot["length"]
                gives = True
        elif inst["decodes"]:
            slot["length"] += 1
            inst["context"] += 1
            gives = True
        if gives:
            _give_token(state, slot)
            inst["tokens"] += 1
            row[TOKENS] += 1
        if gives and (slot["done"] == slot["generated"] or (chunk and inst["role"] == PROMPT)):
            inst["context"] -= slot["length"]
            inst["load"] -= 1
            _release(state, i, s)
            if slot["done"] == slot["generated"]:
                _leave(state, i, s)
                row[FINISHED] += 1
            else:
                _move(rules, state, i, s)
        else:
            state.running[i, kept] = s
            kept += 1
    inst["running"] = kept
    if rules.lends:
        for j in range(len(state.instances)):
            state.instances[j]["stuck"] = 0


@inner
def _give_token(state, slot):
    g = state.g[0]
    now = g["now_s"]
    slot["done"] += 1
    g["tokens"] += 1
    if slot["done"] == 1:
        slot["first_s"] = now
    else:
        gap = now - slot["last_s"]
        if gap != g["gap_s"]:  # a batch's requests mostly have the same one
            g["gap_s"] = gap
            g["gap_bin"] = gap_bin(gap, len(state.gaps))
        state.gaps[g["gap_bin"], 0] += 1
        state.gaps[g["gap_bin"], 1] += gap
        slot["longest_s"] = max(slot["longest_s"], gap)
    slot["last_s"] = now


@inner
def _leave(state, i, s):
    """Hand a finished request out and free its slot."""
    g, slot = state.g[0], state.slots[s]
    out = state.finished[g["finished"]]
    out["id"], out["arrival_s"] = slot["id"], slot["arrival_s"]
    out["context"], out["generated"] = slot["prompt"], slot["generated"]
    out["instance"], out["start_s"] = i, slot["start_s"]
    out["first_token_s"], out["finish_s"] = slot["first_s"], g["now_s"]
    out["longest_gap_s"], out["preemptions"] = slot["longest_s"], slot["preemptions"]
    g["finished"] += 1
    g["in_flight"] -= 1
    slot["next"] = g["free"]
    g["free"] = s


@inner
def _move(rules, state, i, s):
    """Send a prompt's KV to an instance that decodes; layers leave while later ones compute."""
    inst, slot = state.instances[i], state.slots[s]
    whole = slot["goal"] * rules.move_s_per_token
    computed = inst["end_s"] - inst["start_s"]
    shown = max(whole / rules.layers, whole - computed + computed / rules.layers)
    slot["ready_s"] = inst["end_s"] + shown
    j = _least_loaded(state, True)
    state.instances[j]["load"] += 1
    _push_back(state, j, s)


# --- losses ------------------------------------------------------------------------------------


@inner
def _change(state, event):
    """Set an instance's health; what runs is cut off, its tokens are not given."""
    i, before = event["instance"], state.g[0]["preemptions"]
    inst = state.instances[i]
    inst["table"], inst["blocks"], inst["stuck"] = event["table"], event["blocks"], 0
    if inst["busy"]:
        inst["busy"] = 0
        inst["busy_s"] += state.g[0]["now_s"] - inst["start_s"]
        for k in range(inst["running"]):
            state.slots[state.running[i, k]]["chunk"] = 0
    if event["lost"] > 0:
        _lose_kv(state, i, event["device"] if event["lost"] == 2 else -1)
        if event["table"] < 0:
            state.borrowed[i] = 0
            for j in range(len(state.instances)):  # what it hosted is lost to the debtors
                state.borrowed[j, i] = 0
                while state.instances[j]["running"] > 0 and _free_blocks(state, j) < 0:
                    _evict(state, j)
    while inst["running"] > 0 and _free_blocks(state, i) < 0:
        _evict(state, i)
    if event["table"] < 0 and event["lost"] > 0:
        _send_elsewhere(state, i)
    event["hit"] = state.g[0]["preemptions"] - before


@inner
def _lose_kv(state, i, device):
    """Lose the KV of all running requests (device -1) or of those that live on one device."""
    inst, kept = state.instances[i], 0
    for k in range(inst["running"] - 1, -1, -1):  # each goes to the front: the oldest last
        s = state.running[i, k]
        if device < 0 or state.slots[s]["device"] == device:
            state.running[i, k] = -1
            _lose(state, i, s)
    for k in range(inst["running"]):
        if state.running[i, k] >= 0:
            state.running[i, kept] = state.running[i, k]
            kept += 1
    inst["running"] = kept


@inner
def _send_elsewhere(state, i):
    """Queue the waiting requests of an instance that is down again, in their order."""
    inst = state.instances[i]
    for _ in range(inst["waiting"]):
        s = _pop(state, i)
        slot = state.slots[s]
        inst["load"] -= slot["goal"] - slot["filled"] + 1
        _queue_for_prefill(state, s, False)


# --- what is recorded --------------------------------------------------------------------------


@inner
def _bin(state):
    """The timeline's interval of the present time."""
    g = state.g[0]
    while g["now_s"] >= len(state.timeline) * g["interval_s"]:
        _double_interval(state)
    return int(g["now_s"] / g["interval_s"])


@inner
def _double_interval(state):
    """Make one interval of two neighbours."""
    rows = state.timeline
    half = len(rows) // 2
    for k in range(half):
        for column in range(rows.shape[1]):
            rows[k, column] = rows[2 * k, column] + rows[2 * k + 1, column]
    for k in range(half, len(rows)):
        for column in range(rows.shape[1]):
            rows[k, column] = 0.0
    state.g[0]["interval_s"] *= 2


@inner
def _account(state, until):
    """Add what runs, waits and is used from the present time to ``until``, and go there."""
    g, inst = state.g[0], state.instances
    running = waiting = used = busy = down = 0
    for i in range(len(inst)):
        running += inst[i]["running"]
        waiting += inst[i]["waiting"]
        used += inst[i]["used"]
        busy += inst[i]["busy"]
        if inst[i]["table"] < 0:
            down += 1
            inst[i]["down_s"] += until - g["now_s"]
    while g["now_s"] < until:
        k = _bin(state)
        end = min(until, (k + 1) * g["interval_s"])
        if end <= g["now_s"]:  # the edge of the interval, to the last bit
            end = until
        seconds = end - g["now_s"]
        row = state.timeline[k]
        row[RUNNING] += running * seconds
        row[WAITING] += waiting * seconds
        row[USED] += used * seconds
        row[BUSY] += busy * seconds
        row[DOWN] += down * seconds
        g["now_s"] = end
