"""The faults that befall a room, its store and its processes."""

from tests.simulation.crowd import Crowd

FAULTS = ("empty", "fail_over", "restore", "cut", "kill", "lose_answer", "send_twice", "jump", "restart_all")
SILENT = 0.15
"""In so many schedules there are silences, with whatever else befalls them."""


class Faults(Crowd):
    """One method for each of FAULTS."""

    def _empty(self) -> None:
        if self.chance.random() < 0.6:
            self.world.change_history()
        self.oracle.note("the store is emptied", self.world.history())
        self.world.empty()
        self.oracle.emptied()

    def _restart_all(self) -> None:
        self._empty()
        self.oracle.note("all processes restart")
        for process in self.processes:
            process.restart()

    def _fail_over(self) -> None:
        """A replica that is a little behind is promoted: what was written since is lost."""
        self._keep(0)
        for _ in range(self.chance.choice([0, 1, 2])):
            self._act()
            self._pass_time(self.chance.choice([0.0, 0.1, 1.0]))
        self._put_back(0)

    def _restore(self) -> None:
        """An older backup is put in place, once there is one."""
        if 1 in self.slots:
            self._put_back(1)
        else:
            self._keep(1)

    def _keep(self, slot: int) -> None:
        self.world.keep(slot)
        self.oracle.copied(slot)
        self.slots.append(slot)
        self.oracle.note("the store is copied", slot)

    def _put_back(self, slot: int) -> None:
        if self.chance.random() < 0.8:
            self.world.change_history()
        self.oracle.note("the copy is put back", slot, self.world.history())
        self.world.restore(slot)
        self.oracle.restored(slot)

    def _cut(self) -> None:
        process = self._any()
        process.is_cut = not process.is_cut
        self.oracle.note(process.name, "is cut off" if process.is_cut else "is no more cut off")

    def _kill(self) -> None:
        process = self._any()
        self.oracle.note(process.name, "restarts")
        process.restart()

    def _lose_answer(self) -> None:
        """The script runs, and the process never hears of it; half of them because they die."""
        process = self._any()
        self.oracle.note(process.name, "will not hear the next answer")
        process.next_fault = "lost"
        self._act()
        self._poll([visitor for visitor in self.visitors if visitor.due <= self.world.true], process)
        if self.chance.random() < 0.5:
            process.restart()

    def _send_twice(self) -> None:
        process = self._any()
        self.oracle.note(process.name, "will send the next call twice")
        process.next_fault = "twice"

    def _silence(self) -> None:
        """Nothing that anybody in line asks gets through, while those inside go on and leave."""
        self.oracle.note("nobody in line is heard")
        self.is_silent = True
        self._pass_time(self.chance.choice([3.0, 8.0, 20.0]))
        self.is_silent = False
        self.oracle.note("those in line are heard again")

    def _jump(self) -> None:
        seconds = self.chance.choice([-3600, -90, -35, 90, 3600])
        self.oracle.note("the store's clock jumps by", seconds)
        self.world.jump(seconds)
