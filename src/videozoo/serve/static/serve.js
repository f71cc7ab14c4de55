"use strict";

const byId = (id) => document.getElementById(id);
const MOST_AT_ONCE = 3; // uploads of a page

function say(text) {
  const said = byId("said");
  said.textContent = text;
  said.hidden = !text;
}

function make(tag, values = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (value === false || value === undefined) continue;
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((each) => each !== undefined && each !== null));
  return element;
}

async function asked(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (answer.status === 401 && !byId("login")) location.assign("/login");
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    const error = new Error(told.error ?? `The server answers ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return answer.status === 204 ? null : answer.json();
}

// Tells those who do not see the page, without every per cent on the way.
function news(text) {
  byId("news").textContent = text;
}

// How far a job is, in words and as a share.
function told(job) {
  const { done, of, what } = job.progress;
  if (job.state === "failed") return { words: `Failed: ${job.error}`, share: 1 };
  if (job.state === "done") return { words: "Done", share: 1 };
  if (job.state === "running" && of) return { words: `Step ${done + 1} of ${of}: ${what}`, share: done / of };
  return { words: job.state === "queued" ? "Waiting for its turn" : "At work", share: 0 };
}

// Follows a job until it is over. A stream that breaks is opened again, by the browser.
function follow(id, show) {
  const source = new EventSource(`/v1/jobs/${id}/events`);
  source.onmessage = (event) => {
    const job = JSON.parse(event.data);
    if (job.state === "done" || job.state === "failed") source.close();
    show(job);
  };
  source.addEventListener("gone", () => {
    source.close();
    show(null);
  });
  source.onerror = async () => {
    if (source.readyState !== EventSource.CLOSED) return;
    try { // refused: too many listeners, or the job is gone
      show(await asked(`/v1/jobs/${id}`));
      setTimeout(() => follow(id, show), 3000);
    } catch (error) {
      if (error.status === 404) show(null);
      else say(error.message);
    }
  };
}

// --- the start page ------------------------------------------------------------------------------

function start() {
  const rows = new Map(); // job or upload -> its row
  const list = byId("jobs");

  function row(key, name) {
    if (rows.has(key)) return rows.get(key);
    const words = make("span", { className: "words" });
    const bar = make("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-label", `progress of ${name}`);
    const title = make("span", { className: "name" }, make("bdi", { textContent: name }));
    const remove = make("button", { type: "button", textContent: "Remove" });
    remove.setAttribute("aria-label", `Remove ${name}`);
    const item = make("li", { className: "card" }, title, words, bar, remove);
    const made = { item, words, bar, title, remove };
    rows.set(key, made);
    list.prepend(item);
    byId("none").hidden = true;
    return made;
  }

  function drop(key) {
    rows.get(key)?.item.remove();
    rows.delete(key);
    byId("none").hidden = rows.size > 0;
  }

  function show(job) {
    const made = row(job.id, job.video);
    const { words, share } = told(job);
    made.words.textContent = words;
    const before = made.item.dataset.state;
    if (before && before !== job.state) news(`${job.video}: ${words}`);
    made.item.dataset.state = job.state;
    made.bar.value = share;
    made.bar.hidden = job.state === "done" || job.state === "failed";
    if (job.has_answers && !made.title.querySelector("a")) {
      const link = make("a", { href: `/jobs/${job.id}/` }, make("bdi", { textContent: job.video }));
      made.title.replaceChildren(link);
    }
    made.remove.onclick = async () => {
      try {
        await asked(`/v1/jobs/${job.id}`, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) return say(error.message);
      }
      drop(job.id);
      byId("file")?.focus();
    };
  }

  function watch(job) {
    show(job);
    if (job.state === "queued" || job.state === "running") {
      follow(job.id, (now) => (now ? show(now) : drop(job.id)));
    }
  }

  function options() {
    const found = new URLSearchParams();
    const sentence = byId("sentence")?.value.trim();
    const every = byId("every")?.value;
    if (sentence) found.append("sentence", sentence);
    if (every) found.append("every_seconds", every);
    if (byId("annotate").checked) found.append("annotate", "true");
    return found;
  }

  // Files are sent a few at a time; those for which the server has no place yet are sent again later.
  const waiting = [];
  let uploads = 0, sending = 0;
  const next = () => {
    while (sending < MOST_AT_ONCE && waiting.length) {
      sending += 1;
      waiting.shift()();
    }
  };
  const most = Number(byId("drop").dataset.most);

  function upload(file) {
    say("");
    const key = `upload ${++uploads}`;
    const made = row(key, file.name);
    const address = options();
    address.set("name", file.name);
    let request = null, isRemoved = false;
    const failed = (why) => {
      made.words.textContent = `Not taken: ${why}`;
      news(`${file.name} was not taken: ${why}`);
      made.item.dataset.state = "failed";
      made.bar.hidden = true;
    };
    made.remove.onclick = () => {
      isRemoved = true;
      request?.abort();
      drop(key);
    };
    if (file.size > most) return failed(`larger than ${most / 1e6} MB`);

    const ended = () => {
      sending -= 1;
      next();
    };
    const send = () => {
      if (isRemoved) return ended();
      request = new XMLHttpRequest(); // fetch does not tell how much is sent
      request.open("POST", `/v1/jobs?${address}`);
      request.setRequestHeader("content-type", "application/octet-stream");
      request.upload.onprogress = (event) => {
        if (!event.lengthComputable) return;
        made.bar.value = event.loaded / event.total;
        made.words.textContent = `Sending: ${Math.floor((100 * event.loaded) / event.total)} %`;
      };
      request.onload = () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* said below */ }
        if (request.status === 401) location.assign("/login");
        else if (request.status === 202) {
          drop(key);
          watch(answer);
        } else if (request.status === 429) {
          made.words.textContent = `Waits to be sent: ${answer.error}`;
          made.bar.value = 0;
          const seconds = Number(request.getResponseHeader("retry-after")) || 10;
          setTimeout(() => {
            waiting.push(send);
            next();
          }, 1000 * seconds);
        } else failed(answer.error ?? `the server answers ${request.status}`);
        ended();
      };
      request.onerror = async () => {
        ended();
        const isThere = await fetch("/healthz").then((answer) => answer.ok, () => false);
        failed(isThere ? "the server ended the connection" : "the server does not answer; is it still running?");
      };
      request.onabort = ended;
      made.words.textContent = "Sending";
      request.send(file);
    };
    made.words.textContent = "Waits to be sent";
    waiting.push(send);
    next();
  }

  const input = byId("file");
  input.addEventListener("change", () => {
    for (const file of input.files) upload(file);
    input.value = "";
  });
  const zone = byId("drop");
  for (const kind of ["dragenter", "dragover"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    for (const file of event.dataTransfer.files) upload(file);
  });
  byId("ask").addEventListener("submit", (event) => event.preventDefault());

  const choice = byId("library");
  if (choice) {
    asked("/v1/library").then(
      (names) => choice.append(...names.map((name) => make("option", { value: name, textContent: name }))),
      (error) => say(error.message),
    );
    byId("take").addEventListener("click", async () => {
      say("");
      const given = options();
      const body = { library: choice.value, sentences: given.getAll("sentence"), annotate: given.has("annotate") };
      if (given.has("every_seconds")) body.every_seconds = Number(given.get("every_seconds"));
      try {
        watch(await asked("/v1/jobs", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        }));
      } catch (error) {
        say(error.message);
      }
    });
  }

  asked("/v1/jobs").then(
    (jobs) => jobs.reverse().forEach(watch),
    (error) => say(error.message),
  );
}

// --- the page of a video -------------------------------------------------------------------------

function answers(head) {
  const id = head.dataset.job;
  const going = byId("going");

  function show(job) {
    if (!job) {
      going.hidden = false;
      going.textContent = "This video was removed.";
      return;
    }
    const { words, share } = told(job);
    going.hidden = false;
    going.textContent = words;
    const bar = byId("bar");
    if (bar) bar.value = share;
    if (job.state === "done") location.reload();
    if (job.state === "failed") say(words);
  }

  if ("waits" in head.dataset) follow(id, show);

  byId("remove").addEventListener("click", async () => {
    try {
      await asked(`/v1/jobs/${id}`, { method: "DELETE" });
    } catch (error) {
      if (error.status !== 404) return say(error.message);
    }
    location.assign("/");
  });

  byId("search")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    say("");
    const sentence = byId("words").value.trim();
    if (!sentence) return;
    try {
      await asked(`/v1/jobs/${id}/search`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ sentence }),
      });
      follow(id, show);
    } catch (error) {
      say(error.message);
    }
  });

  // Downloads that are not there are not offered.
  for (const link of document.querySelectorAll("#downloads a")) {
    if (!/annotated|vtt/.test(link.getAttribute("href"))) continue;
    fetch(link.href, { method: "HEAD" }).then((answer) => {
      if (!answer.ok) link.remove();
    }, () => {});
  }
}

// --- the token -----------------------------------------------------------------------------------

function login() {
  async function enter(token) {
    try {
      await asked("/v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
      location.replace("/");
    } catch (error) {
      say(error.message);
    }
  }
  byId("login").addEventListener("submit", (event) => {
    event.preventDefault();
    enter(byId("token").value.trim());
  });
  const given = location.hash.slice(1);
  if (given) {
    history.replaceState(null, "", "/login"); // not kept in the history
    enter(given);
  }
}

const head = document.querySelector("nav.served");
if (byId("ask")) start();
else if (byId("login")) login();
else if (head) answers(head);
