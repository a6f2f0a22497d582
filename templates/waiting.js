// Watches the line for its visitor. It asks GET /window, which is the same for everyone and may come from a
// cache, and compares it with its own place; only at the door, and after the line was moved to another
// store, does it ask GET /status, which is about this visitor and claims the place.
(() => {
  "use strict";

  const page = JSON.parse(document.getElementById("data").textContent);
  const { kind, live } = page;
  const $ = (id) => document.getElementById(id);
  const put = (id, text) => $(id) && $(id).textContent !== text && ($(id).textContent = text);
  const show = (id, shown = true) => $(id) && ($(id).hidden = !shown);

  const SECOND = 1000;
  const GIVE_UP = 10 * SECOND;
  const RELOAD_GAP = 2 * SECOND;
  const LOOK_GAP = SECOND;
  const SPEAK_GAP = 60 * SECOND;
  const SLOWER = 120 * SECOND; // for this long it is said why a wait has grown
  const COOKIE_ROUND = 30 * SECOND; // first pages again and again within this time: the cookie does not come back
  const TRIES = 2; // failures after which the page asks another way
  const HOME = 300 * SECOND; // how often one that asks another way tries the usual one again
  const RELOADS = 30 * SECOND; // between two reloads where no way of asking works
  const COOKIE_ROUNDS = 2; // once again is no proof: one can have been in and out between them

  // -- words ---------------------------------------------------------------------------------------

  const plurals = new Intl.PluralRules(document.documentElement.lang);
  const digits = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, page.thousands);

  function say(message, count, values) {
    const text = typeof message === "string" ? message : message[plurals.select(count)] || message.other;
    return text.replace(/\{(\w+)\}/g, (hole, name) => (name in values ? values[name] : hole));
  }

  function waitWords(eta) {
    if (!eta) return live.unknown;
    if (eta.high <= 60) return live.under_a_minute;
    const [, name, unit, step] = page.scales.find(([limit]) => eta.high <= limit);
    const low = Math.floor(eta.low / (unit * step)) * step;
    const high = Math.ceil(eta.high / (unit * step)) * step;
    const form = low === 0 ? "upto" : low === high ? "about" : "range";
    return say(live[`${name}_${form}`], high, { low, high });
  }

  // Those called who are still to come in are in front as well.
  function estimate(ahead, perMinute, backlog) {
    if (!perMinute) return null;
    const wait = ((ahead + 1 + backlog) / perMinute) * 60;
    const [shorter, longer, seconds] = page.eta;
    const low = Math.floor(Math.min(wait * shorter, wait - seconds));
    const high = Math.ceil(Math.max(wait * longer, wait + seconds));
    return { low: Math.max(0, low), high };
  }

  // As many as are called in one window may be called at once.
  function pollSeconds(ahead, perMinute) {
    const [looks, faster, most] = page.poll;
    const limit = 1 / page.seconds_per_call;
    const usual = perMinute / 60 || limit;
    const fastest = perMinute ? Math.max(usual * faster, limit) : limit * most;
    return (ahead - usual * page.burst_seconds) / fastest / looks;
  }

  function showTime(date) {
    const clock = $("updated");
    if (!clock || !date) return;
    clock.dateTime = date.toISOString();
    clock.textContent = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }

  // -- what a reload leaves behind -----------------------------------------------------------------

  // Where cookies are blocked storage throws as well; the window's name survives a reload all the same.
  const KEY = `waitroom ${page.room} `;

  function recall(name) {
    try {
      return Number(sessionStorage.getItem(KEY + name));
    } catch {
      const [, value] = window.name.split(`${KEY + name}=`);
      return parseInt(value, 10); // or not a number, which is no time ago
    }
  }

  function remember(name, value) {
    try {
      sessionStorage.setItem(KEY + name, value);
    } catch {
      window.name = window.name.replace(new RegExp(`${KEY + name}=\\d+;|$`), `${KEY + name}=${value};`);
    }
  }

  const within = (name, span) => {
    const since = Date.now() - recall(name);
    return since >= 0 && since < span;
  };

  let done = false; // with this page, by reload or for good: nothing more is asked

  function reload() {
    done = true;
    const rest = within("reload", RELOAD_GAP) ? RELOAD_GAP - (Date.now() - recall("reload")) : 0;
    setTimeout(async () => {
      remember("reload", Date.now());
      await dropCopies().catch(() => {});
      if (isKept) loadElsewhere();
      else location.reload();
    }, rest);
  }

  // A service worker that answers from its caches would show this page for ever. Of those the gate's pages are taken
  // out, and nothing else: no page of a site is both `no-store` and kept.
  async function dropCopies() {
    if (!self.caches || !navigator.serviceWorker?.controller) return;
    for (const name of await caches.keys()) {
      const cache = await caches.open(name);
      for (const request of await cache.keys()) {
        const kept = await cache.match(request, { ignoreVary: true });
        const isOurs = kept?.headers.get("x-robots-tag") === "noindex" && kept.headers.get("vary") === "Cookie, Accept";
        if (isOurs) await cache.delete(request, { ignoreVary: true });
      }
    }
  }

  // The same page at an address under which nobody has kept a copy.
  function loadElsewhere() {
    const url = new URL(location.href);
    url.searchParams.set("waitroom", Date.now().toString(36));
    location.replace(url);
  }

  // -- the time of what is told ----------------------------------------------------------------------

  // By the store's clock, which runs as the browser does; how far ahead it is, is the most that was seen.
  let lead = page.made - performance.now();
  let isKept = page.made < recall("seen") - page.stale_seconds * SECOND;

  // The time of an answer; raises where it is older than it can be, so that it was kept on the way. `since` is
  // when it was asked for.
  function dated({ at }, since) {
    if (typeof at !== "number") return null;
    lead = Math.max(lead, at - performance.now());
    if (since + lead - at > page.stale_seconds * SECOND) throw new Stale();
    if (at > (recall("seen") || 0)) remember("seen", at);
    return new Date(at);
  }

  class Stale extends Error {}
  class Refused extends Error {} // answered, but not by the gate

  // -- speaking ------------------------------------------------------------------------------------

  let spokenAt = Date.now();

  function speak(text) {
    spokenAt = Date.now();
    put("spoken", text);
  }

  function swap(id) {
    show("view", false);
    show(id);
    $(id).querySelector("h1").focus();
  }

  // -- the place -----------------------------------------------------------------------------------

  let ahead = null;
  let longest = page.longest; // the wait told last
  let slowedAt = page.pace === "slower" ? Date.now() : 0;
  const ends = { [live.settling]: live.settled, [live.standing]: live.settled, [live.slower]: "" };
  let troubled = live[page.pace] || "";

  function setWord(text) {
    if (text === troubled) return;
    speak(text || (ends[troubled] ?? live.restored));
    troubled = text;
    put("word", text);
    show("word", Boolean(text));
  }

  function showPlace(count, eta) {
    // A wait does not grow without a word about it.
    if (eta && longest && eta.high > longest) slowedAt = Date.now();
    if (eta) longest = eta.high;
    const next = count === 0;
    const figure = next ? live.next : digits(count);
    const label = next ? live.next_label : say(live.ahead, count, {});
    const wait = waitWords(eta);
    put("figure", figure);
    $("figure") && $("figure").classList.toggle("long", figure.length > 5);
    put("label", label);
    put("wait", wait);
    document.body.classList.toggle("next", next);
    document.title = next ? live.title_next : say(live.title, count, { figure });
    if (next && ahead) speak(live.next_label);
    else if (Date.now() - spokenAt >= SPEAK_GAP) speak(say(live.announce, count, { figure, label, wait }));
    ahead = count;
  }

  function showProgress(called) {
    const bar = $("progress");
    if (!bar) return;
    const value = Math.min(bar.max, Math.max(0, called - page.start));
    if (value > bar.value) takeStep();
    bar.value = value;
  }

  function takeStep() {
    const walk = document.querySelector(".walk");
    if (!walk) return;
    walk.classList.remove("step");
    walk.getBoundingClientRect(); // without a layout in between the animation would not start again
    walk.classList.add("step");
  }

  // Whose cookie is gone would come back as a newcomer; asking sets it again.
  async function takeTurn() {
    await askStatus().catch(() => {}); // the page will tell
    if (!done) comeIn();
  }

  function comeIn() {
    document.title = live.title_called;
    put("heading", live.called);
    put("lead", live.called_lead);
    speak(live.called);
    reload();
  }

  // -- asking --------------------------------------------------------------------------------------

  let timer = 0;
  let asking = false;
  let lookedAt = 0;
  let failures = 0;
  let interval = page.poll_after;

  const jittered = (seconds) => seconds * (0.9 + 0.3 * Math.random());
  const bounded = (seconds) => Math.max(1, Math.min(seconds, page.longest_poll));

  function lookIn(seconds) {
    clearTimeout(timer);
    if (!done) timer = setTimeout(look, seconds * SECOND);
  }

  function lookNow() {
    if (asking || done) return;
    lookIn(Math.max(0, lookedAt + LOOK_GAP - Date.now()) / SECOND);
  }

  async function ask(route, { query = "", ...options } = {}) {
    const patience = new AbortController();
    const giveUp = setTimeout(() => patience.abort(), GIVE_UP);
    try {
      const url = `${page.base}${route}?room=${encodeURIComponent(page.room)}${query}`;
      const answer = await fetch(url, { signal: patience.signal, ...options });
      const type = answer.headers.get("content-type") || "";
      const at = Number(answer.headers.get("waitroom-at")) || undefined;
      // A ticket that is no longer known is an answer as well: there is another page for it.
      if (answer.status === 401 && type.includes("json")) return { ...(await answer.json()), status: "unknown", at };
      if (answer.status === 204) return null;
      if (answer.type === "opaqueredirect" || (answer.status < 500 && !type.includes("json"))) throw new Refused();
      if (!answer.ok) throw answer.status < 500 ? new Refused() : new Error(answer.status);
      return { at, ...(await answer.json()) };
    } finally {
      clearTimeout(giveUp);
    }
  }

  const unique = () => `&at=${Date.now().toString(36)}`;

  // Asks for this visitor. Where the cookie is gone the page still has the ticket: the answer sets the cookie again.
  async function askStatus() {
    const since = performance.now();
    const options = { credentials: "same-origin", cache: "no-store" };
    let mine = await ask("/status", options);
    if (mine.status === "unknown" && !mine.cookie && page.ticket)
      mine = await ask("/status", { ...options, query: unique(), headers: { "Waitroom-Pass": page.ticket } });
    if (typeof mine.status !== "string") throw new Refused();
    return { ...mine, time: dated(mine, since) };
  }

  async function askWindow(options) {
    const since = performance.now();
    const room = await ask("/window", options);
    if (typeof room.state !== "string") throw new Refused();
    return { ...room, time: dated(room, since) };
  }

  // The usual way first, which a cache may answer; then those for what may stand in front: what wants a cookie of
  // everybody, what keeps answers too long, what lets through nothing that is the same for all.
  const WAYS = [
    () => askWindow({ credentials: "omit", redirect: "manual" }),
    () => askWindow({ credentials: "same-origin" }),
    () => askWindow({ credentials: "same-origin", cache: "no-store", query: unique() }),
    null, // by /status
  ];
  let way = Math.min(recall("way") || 0, WAYS.length - 1);
  let tries = 0;
  let refused = false;
  let homeAt = 0;

  function useWay(next) {
    way = next;
    tries = 0;
    remember("way", way);
  }

  async function askRoom() {
    if (way > 0 && Date.now() >= homeAt) {
      homeAt = Date.now() + HOME;
      try {
        const room = await WAYS[0]();
        useWay(0);
        return room;
      } catch {
        // it goes on as before
      }
    }
    return WAYS[way] ? await WAYS[way]() : null;
  }

  function askOtherwise(error) {
    refused ||= error instanceof Refused || error instanceof Stale;
    tries += 1;
    if (error instanceof Stale && way < 2) useWay(2);
    else if (tries < TRIES) return;
    else if (way < WAYS.length - 1) useWay(way + 1);
    else {
      useWay(0);
      // Only where something answers: a page that is loaded again from nobody is lost.
      if (refused && !within("reload", Math.max(RELOADS, interval * SECOND))) reload();
      refused = false;
    }
    homeAt = Date.now() + (way ? HOME : 0);
  }

  async function look() {
    if (asking || done) return;
    asking = true;
    lookedAt = Date.now();
    let again = false;
    try {
      const word = kind === "door" ? await lookAtDoor() : await lookAtLine();
      failures = word && !(word in ends) ? failures + 1 : 0;
      tries = 0;
      refused = false;
      if (!done) setWord(word);
    } catch (error) {
      const before = way;
      askOtherwise(error);
      again = error instanceof Refused || error instanceof Stale;
      if (!again) failures += 1;
      if (!done && (!again || way <= before)) setWord(page.number === null ? live.lost_unnumbered : live.lost);
    }
    asking = false;
    // Doubling from the usual interval, anywhere in it: a crowd that lost the server comes back thinly spread. Where
    // something has answered, if not the gate, another way is tried after the usual time.
    lookIn(
      failures && !again ? Math.max(1, Math.random() * bounded(interval * 2 ** failures)) : jittered(bounded(interval)),
    );
  }

  // Both answer the word to show when the line cannot be seen, stands still or has become slower, else "".

  async function lookAtLine() {
    const room = await askRoom();
    if (!room) return await lookAtStatus();
    if (room.state === "away") return kind === "away" ? "" : live.away;
    if (done) return "";
    if (kind === "away") reload();
    else if (room.epoch !== page.epoch || room.state === "settling") await lookAtStatus();
    else if (typeof room.called !== "number") throw new Error("no line");
    else if (room.called >= page.number) await takeTurn();
    else {
      const left = (room.left || []).filter((number) => number < page.number).length;
      const count = page.number - room.called - 1 - left;
      showPlace((room.door || 0) + count, estimate(count, room.rate_per_minute, room.backlog || 0));
      showProgress(room.called);
      showTime(room.time);
      interval = bounded(Math.max(pollSeconds(count, room.rate_per_minute), room.poll_after));
    }
    if (room.state === "settling") return live.settling;
    if (room.rate_per_minute === 0) return live.standing;
    return Date.now() - slowedAt < SLOWER ? live.slower : "";
  }

  // Who is the next already is told so by the page itself.
  function showDoor(count) {
    if (!count && !ahead) return;
    put("figure", count ? digits(count) : live.next);
    put("label", count ? say(live.at_door, count, {}) : live.next_label);
    document.body.classList.toggle("next", !count);
    ahead = count;
  }

  async function lookAtDoor() {
    const mine = await askStatus();
    if (done) return "";
    if (mine.status === "active") comeIn();
    else if (mine.status !== "waiting") reload();
    else {
      interval = bounded(mine.poll_after);
      showDoor(mine.ahead);
      showTime(mine.time);
    }
    return "";
  }

  // The store has lost something, or the line went on in another epoch: asking reports this place.
  async function lookAtStatus() {
    const mine = await askStatus();
    if (done) return "";
    if (kind === "away") reload();
    else if (mine.status === "active") comeIn();
    else if (mine.status !== "waiting") reload();
    else {
      showPlace(mine.ahead, mine.eta_seconds);
      showTime(mine.time);
      interval = bounded(mine.poll_after);
    }
    return "";
  }

  // -- leaving -------------------------------------------------------------------------------------

  function offerLeave() {
    if (!$("leave")) return;
    const confirm = (sure) => {
      show("leave-ask", !sure);
      show("leave-sure", sure);
      $(sure ? "leave-no" : "leave-ask").focus();
    };
    $("leave-ask").addEventListener("click", () => confirm(true));
    $("leave-no").addEventListener("click", () => confirm(false));
    $("leave-yes").addEventListener("click", leave);
    show("leave");
  }

  async function leave() {
    if (done) return;
    done = true;
    clearTimeout(timer);
    try {
      await ask("/ticket", { method: "DELETE", credentials: "same-origin" });
      document.title = live.title_left;
      swap("left");
      speak(live.title_left);
    } catch {
      done = false;
      setWord(live.cannot_leave);
      lookIn(jittered(interval));
    }
  }

  // -- the first page ------------------------------------------------------------------------------

  async function fetchNumber() {
    const rounds = within("first", COOKIE_ROUND) ? (recall("rounds") || 0) + 1 : 0;
    remember("rounds", rounds);
    if (navigator.cookieEnabled === false) {
      swap("cookies");
      return;
    }
    if (rounds) {
      // Either no cookie comes back, or this is a copy that somebody has kept: the gate knows which.
      const since = performance.now();
      const told = await ask("/status", { credentials: "same-origin", cache: "no-store", query: unique() }).catch(() => ({}));
      const age = typeof told.at === "number" ? told.at - page.made : 0;
      isKept = told.cookie || (told.status || "unknown") !== "unknown" || age > page.stale_seconds * SECOND + since;
      if (rounds >= COOKIE_ROUNDS && told.cookie === false && !isKept) {
        swap("cookies");
        return;
      }
    }
    remember("first", Date.now());
    if (rounds) reload();
    else setTimeout(() => location.reload(), 100);
  }

  // -- beginning -----------------------------------------------------------------------------------

  function begin() {
    // The answer's Refresh header, which serves browsers without scripts, would reload the page under the
    // visitor's hands. Stopping the load, once it has come to its end, cancels nothing but that.
    window.stop();
    // The link by itself would lose the address its fragment.
    $("look").addEventListener("click", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      if (!done) reload();
    });
    if (kind === "first") {
      fetchNumber();
      return;
    }
    remember("first", 0);
    offerLeave();
    addEventListener("online", lookNow);
    addEventListener("pageshow", (event) => event.persisted && lookNow());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && lookNow());
    lookIn(jittered(interval));
  }

  if ($("updated")) showTime(new Date($("updated").dateTime));
  // The answer to a form: loading it again would send the form again.
  if (kind !== "unsent" && kind !== "returned") addEventListener("load", () => setTimeout(begin));
})();
