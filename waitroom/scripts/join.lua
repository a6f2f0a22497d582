-- join: hands out numbers, many at once.
--
-- items   [how, id]; `how` is
--           "number"  takes a number
--           "enter"   takes a number, and enters if it is called at once
--           "first"   enters at once on a first lease, else takes no number
-- answer  view, and for each {number, called when it was issued, when the pass ends};
--         number 0: none was taken; pass end 0: did not enter

slide()

local function take_number()
  room.issued = room.issued + 1
  redis.call('HSET', STATE, 'issued', text(room.issued))
  return room.issued
end

local function enter_at_once(number, id, first)
  local lease_us = first and rules.first_lease_us or rules.lease_us
  local ends = pass_end(now, lease_us)
  call(1, false)
  enter(rank_of(room.epoch, number), id, ends - now, first)
  return ends
end

local function join(how, id)
  local at_once = room.issued == room.called and room.free > 0
  if how == 'first' and not (at_once and count_free_first() > 0) then
    return {0, 0, 0}
  end
  local start, ends = room.called, 0
  local number = take_number()
  if at_once and how == 'number' then
    call(1, true)
  elseif at_once then
    ends = enter_at_once(number, id, how == 'first')
  end
  return {text(number), text(start), text(ends)}
end

local answers = {}
for i, visitor in ipairs(items) do
  answers[i] = join(visitor[1], visitor[2])
end
return {view(), answers}
