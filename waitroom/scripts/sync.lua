-- sync: what a process keeps as its snapshot of the room.
--
-- items   [ended_version], the one the process knows
-- answer  view, and the sessions that ended early as {id, until when, …}, or false where the process knows them

begin_room()
slide()

if items[1] == room.ended_version then
  return finish(false)
end
return finish(redis.call('ZRANGE', ENDED, 0, -1, 'WITHSCORES'))
