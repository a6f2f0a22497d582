// Solves a challenge for its visitor, in a worker, so that the page stays alive. Beside it runs the time after which
// a number is given without a solution: to browsers that are slow, or cannot compute.
(() => {
  "use strict";

  const page = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const address = (route) => `${page.base}${route}?room=${encodeURIComponent(page.room)}`;
  let began = 0;
  let clock = 0;

  async function ask(route, options) {
    const answer = await fetch(address(route), { cache: "no-store", credentials: "same-origin", ...options });
    if (!answer.ok) throw new Error(answer.status);
    return answer.json();
  }

  function solve(challenge) {
    return new Promise((solved, failed) => {
      const worker = new Worker(address("/challenge.js"));
      worker.onerror = failed;
      worker.onmessage = ({ data }) => (data && data.derivedKey ? solved(data) : failed());
      worker.postMessage({ type: "work", challenge });
    });
  }

  function show() {
    const seconds = (Date.now() - began) / 1000;
    $("progress").value = seconds / page.poll_after;
    if (seconds >= page.poll_after) comeBack();
  }

  function comeBack() {
    clearInterval(clock);
    location.reload();
  }

  function tellOfCookies() {
    clearInterval(clock);
    $("view").hidden = true;
    $("cookies").hidden = false;
    $("cookies").querySelector("h1").focus();
  }

  async function check() {
    try {
      const { cookie, ...challenge } = await ask("/challenge");
      if (!cookie) return tellOfCookies();
      const solution = btoa(JSON.stringify({ challenge, solution: await solve(challenge) }));
      await ask("/join", { method: "POST", headers: { "Waitroom-Solution": solution } });
      comeBack();
    } catch {
      $("word").textContent = $("spoken").textContent = page.check.waits;
      $("word").hidden = false;
    }
  }

  addEventListener("load", () =>
    setTimeout(() => {
      // Else the answer's Refresh header, which serves browsers without scripts, would load the page again under a
      // solution that is on its way.
      window.stop();
      // The link by itself would lose the address its fragment.
      $("look").addEventListener("click", (event) => {
        event.preventDefault();
        comeBack();
      });
      began = Date.now();
      $("progress").hidden = false;
      clock = setInterval(show, 200);
      $("spoken").textContent = page.check.checking;
      check();
    }),
  );
})();
