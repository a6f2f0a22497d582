-- join: hands out numbers, many at once.
--
-- items   [how, id]; `how` is
--           "number"  takes a number
--           "enter"   takes a number, and enters if it is called at once
--           "first"   enters at once on a first lease, else takes no number
-- answer  view, and for each {number, called when it was issued, when the pass ends}, of the newest epoch;
--         number 0: none was taken; pass end 0: did not enter

begin_room()
slide()

local function take_number()
  room.newest.issued = room.newest.issued + 1
  return room.newest.issued
end

local function enter_at_once(number, id, first)
  local ends = pass_end(now, first and rules.first_lease_us or rules.lease_us)
  call(1, false)
  enter(rank_of(room.newest.name, number), id, ends, first)
  return ends
end

local function join(how, id)
  local at_once = count_waiting() == 0 and room.free > 0
  if how == 'first' and not (at_once and count_free_first() > 0) then
    return {0, 0, 0}
  end
  local start, ends = room.newest.called, 0
  local number = take_number()
  if how == 'number' then
    if at_once and count_allowed() > 0 then
      call(1, true)
    end
  elseif at_once then
    ends = enter_at_once(number, id, how == 'first')
  end
  return {text(number), text(start), text(ends)}
end

local answers = {}
for i, visitor in ipairs(items) do
  answers[i] = join(visitor[1], visitor[2])
end
return finish(answers)
