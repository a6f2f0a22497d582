-- sync: what a process keeps as its snapshot of the room.
--
-- items   [ended_version, epoch, counts]: which list of the ended the process has read and what was the newest epoch
--         then, and name -> how often since it last told
-- answer  view, and the sessions that ended early as {id, until when, …}, or false where the process knows them

begin_room()
slide()
for name, count in pairs(items[3]) do
  redis.call('HINCRBY', COUNTERS, name, count)
end

if items[1] == room.ended_version and items[2] == room.newest.name then
  return finish(false)
end
return finish(redis.call('ZRANGE', ENDED, 0, -1, 'WITHSCORES'))
