-- sync: what a process keeps as its snapshot of the room.
--
-- items   [ended_version, epoch, counts]: up to where the process has read the list of the ended and what was the
--         newest epoch then, and name -> how often since it last told
-- answer  view, and what was listed since as {up to where, id, until when, …}: where that is less than the view's
--         ended_version there is more; false where there is nothing new

begin_room()
slide()
for name, count in pairs(items[3]) do
  redis.call('HINCRBY', COUNTERS, name, count)
end

endings.forget()
if items[1] == room.ended_version and items[2] == room.newest.name then
  return finish(false)
end
endings.mend()
return finish(endings.read(items[2] == room.newest.name and items[1] or 0))
