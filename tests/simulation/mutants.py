"""Bugs that could be in the scripts and beside them, planted one at a time: the oracle has to find each."""

from tests.simulation.parts import Mutant

MUTANTS = (
    Mutant(
        "a lost merge: numbers that processes remember are not taken over",
        "scripts/heal.lua",
        "  epoch.issued = math.max(epoch.issued, issued)\n",
        "",
    ),
    Mutant(
        "a lost merge: what tickets tell is not taken over",
        "scripts/heal.lua",
        "merge(memory.told)\n",
        "merge({})\n",
    ),
    Mutant(
        "max without a new epoch: the counter goes on from the highest that is known",
        "scripts/heal.lua",
        "  elseif is_loss or is_behind or is_behind_tickets then\n",
        "  elseif false then\n",
    ),
    Mutant(
        "a new epoch is stamped by the clock alone",
        "scripts/heal.lua",
        "    stamp = math.max(stamp, time_of(epoch.name) + 1)\n",
        "",
    ),
    Mutant(
        "the newest epoch is called first",
        "scripts/slide.lua",
        "  for _, epoch in ipairs(room.epochs) do\n    local here = ",
        "  for i = #room.epochs, 1, -1 do\n    local epoch = room.epochs[i]\n    local here = ",
    ),
    Mutant(
        "an off-by-one in the window",
        "scripts/slide.lua",
        "rules.window_size - room.entered)\n",
        "rules.window_size + 1 - room.entered)\n",
    ),
    Mutant(
        "an off-by-one in the capacity",
        "scripts/slide.lua",
        "math.min(rules.capacity - room.inside",
        "math.min(rules.capacity + 1 - room.inside",
    ),
    Mutant(
        "entries are forgotten a little early",
        "scripts/state.lua",
        "after(now - rules.interval_us), '+inf')\nend\n",
        "after(now - rules.interval_us * 0.9), '+inf')\nend\n",
    ),
    Mutant(
        "a claim that counts twice",
        "scripts/claim.lua",
        "  if entered_at then\n    return find_session(id, entered_at)\n  end\n",
        "",
    ),
    Mutant(
        "the clock goes back with the store's",
        "scripts/state.lua",
        "  if now < last then\n    now = last\n",
        "  if false then\n    now = last\n",
    ),
    Mutant(
        "a jump of the store's clock goes through",
        "scripts/state.lua",
        "+ JUMP_US then\n",
        "+ 1e15 then\n",
    ),
    Mutant(
        "a pod's clock used for the store's",
        "memory.py",
        "self._clock + round((self._elapsed() - self._read_at) * 1e6)",
        "round(self._elapsed() * 1e6)",
    ),
    Mutant(
        "nothing settles after a loss",
        "scripts/slide.lua",
        "  room.is_settling = now < settles_until()\n",
        "  room.is_settling = false\n",
    ),
    Mutant(
        "the sessions that were lost are not feared",
        "scripts/slide.lua",
        "redis.call('ZCARD', INSIDE) + count_forgotten()\n  room.entries",
        "redis.call('ZCARD', INSIDE)\n  room.entries",
    ),
    Mutant(
        "the entries that were lost are not feared",
        "scripts/slide.lua",
        "room.entered = entered, entered + count_unseen()\n",
        "room.entered = entered, entered\n",
    ),
    Mutant(
        "a pass that the store has lost is refused",
        "scripts/renew.lua",
        "and not is_back(session, is_first) then",
        "then",
    ),
    Mutant(
        "the floor passes whoever is called, at once",
        "scripts/slide.lua",
        "    if tonumber(at) + rules.active_us > reached then break end\n",
        "",
    ),
    Mutant(
        "the floor passes who stands at the door",
        "scripts/slide.lua",
        "    return number_of(lowest) - 1\n",
        "    return epoch.called\n",
    ),
    Mutant(
        "at the door the highest comes first",
        "scripts/claim.lua",
        "redis.call('ZRANGEBYLEX', DOOR, '-', '(' .. rank, 'LIMIT'",
        "redis.call('ZRANGEBYLEX', DOOR, '(' .. rank, '+', 'LIMIT'",
    ),
    Mutant(
        "who has left comes back with a copy",
        "scripts/leave.lua",
        "  redis.call('ZADD', ENDED, pass_ends, id)\n",
        "",
    ),
    Mutant(
        "leaving does not free the place",
        "scripts/leave.lua",
        "  local pass_ends = lease_ends - GRACE_US\n  remove({INSIDE, FIRST}, {id})\n",
        "  local pass_ends = lease_ends - GRACE_US\n",
    ),
    Mutant(
        "whoever is called comes in, whether there is a place or not",
        "scripts/claim.lua",
        "  return room.places > 0 and room.places > count_before(rank, room.places)\n",
        "  return true\n",
    ),
    Mutant(
        "another history of the server is nothing to it",
        "scripts/heal.lua",
        "  local is_another = history and room.history and history ~= room.history\n",
        "  local is_another = false\n",
    ),
    Mutant(
        "milliseconds taken for microseconds",
        "store.py",
        "used.expires_at * 1000, used.known_in",
        "used.expires_at, used.known_in",
    ),
    Mutant(
        "a process does not remember the numbers it has seen",
        "memory.py",
        "            self._epochs[name] = issued, called, floor\n",
        "            self._epochs[name] = 0, 0, 0\n",
    ),
)
