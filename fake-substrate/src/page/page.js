// Keeps the page true: parts that the server has rendered anew replace the old ones, log lines are added.
// Without it the page works as well: forms are sent and answered by a redirect.
"use strict";

(() => {
  const KEPT_LINES = 1000;
  const byScript = { "X-Page-Script": "1" };
  const main = document.querySelector("main[data-process]");
  if (!main) return;
  const log = document.getElementById("log");
  const machine = document.getElementById("log-machine");
  const live = document.getElementById("live");
  const notice = document.getElementById("notice");

  // Ages. The server sends moments; how long ago that was is the browser's to know.
  const age = (seconds) => {
    if (seconds < 5) return "just now";
    if (seconds < 60) return `${Math.floor(seconds / 5) * 5} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} days ago`;
  };
  const ages = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const text = age((Date.now() - Date.parse(time.dateTime)) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  };

  // What a person has typed, opened or focused outlives the part around it.
  const kept = (part) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const fields = [...part.querySelectorAll("input[id], select[id]")];
    const opened = [...part.querySelectorAll("details[id]")];
    return {
      values: fields.map((field) => [field.id, field.value]),
      open: opened.map((details) => [details.id, details.open]),
      focus: focused && { id: focused.id, form: focused.form?.getAttribute("action"), at: focused.selectionStart },
    };
  };
  const restore = (part, before) => {
    for (const [id, value] of before.values) {
      const field = document.getElementById(id);
      if (field) field.value = value;
    }
    for (const [id, open] of before.open) {
      const details = document.getElementById(id);
      if (details) details.open = open;
    }
    if (!before.focus) return;
    const { id, form, at } = before.focus;
    const same = id
      ? document.getElementById(id)
      : part.querySelector(`form[action="${CSS.escape(form ?? "")}"] button`);
    same?.focus({ preventScroll: true });
    if (same && Number.isInteger(at)) same.setSelectionRange(at, at);
  };

  const replace = ({ id, html }) => {
    const part = document.getElementById(id);
    if (!part) return;
    const before = kept(part);
    part.innerHTML = html;
    restore(part, before);
    ages(part);
    dress(part);
    if (id === "machines") machines();
  };

  // The choice of machines follows those that there are.
  const machines = () => {
    const names = [...document.querySelectorAll("article[data-machine]")].map((card) => card.dataset.machine);
    for (const option of [...machine.options]) {
      if (option.value && !names.includes(option.value) && option.value !== machine.value) option.remove();
    }
    for (const name of names) {
      if (![...machine.options].some((option) => option.value === name)) machine.add(new Option(name, name));
    }
  };

  // The log: as many lines as can be read, and at its end only while nobody has scrolled up.
  const shown = (line) => !machine.value || line.dataset.machine === machine.value;
  const add = (html) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    log.insertAdjacentHTML("beforeend", html);
    log.lastElementChild.hidden = !shown(log.lastElementChild);
    while (log.childElementCount > KEPT_LINES) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };
  machine.addEventListener("change", () => {
    for (const line of log.children) line.hidden = !shown(line);
    log.scrollTop = log.scrollHeight;
  });
  document.getElementById("log-show").hidden = true;
  log.scrollTop = log.scrollHeight;

  // Forms. The outcome comes as a part of the page; only a refusal is told here.
  const tell = (text) => {
    notice.textContent = text;
    notice.hidden = !text;
    if (text) notice.scrollIntoView({ block: "nearest" });
  };
  const post = (form) =>
    fetch(form.getAttribute("action"), {
      method: "POST",
      headers: byScript,
      body: new URLSearchParams(new FormData(form)),
      redirect: "error",
    });
  const refused = async (answer) => {
    const text = await answer.text();
    const words = new DOMParser().parseFromString(text, "text/html").querySelector("main p");
    return words ? words.textContent : text;
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-act], [data-reveal]")) return;
    event.preventDefault();
    tell("");
    const button = event.submitter;
    if (button) button.disabled = true;
    try {
      const answer = await post(form);
      if (!answer.ok) tell(await refused(answer));
      else if (form.dataset.reveal) document.getElementById(form.dataset.reveal).innerHTML = await answer.text();
      else if ("clear" in form.dataset) form.reset();
    } catch {
      tell("The page is not served any more: fake-substrate up starts it again.");
    } finally {
      if (button?.isConnected) button.disabled = false;
    }
  });
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      const answer = await post(button.form);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      await navigator.clipboard.writeText(page.querySelector("[data-command]").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy with password"; }, 2000);
    } catch {
      tell("It could not be copied: use Show password, and copy by hand.");
    }
  });
  const dress = (root) => {
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  };

  const state = (word, text) => {
    live.dataset.live = word;
    live.textContent = text;
  };
  const events = new EventSource(`/events?after=${main.dataset.latest}`);
  events.addEventListener("hello", ({ data }) => {
    // Another process has other tokens: nothing in this page would be taken by it.
    if (data !== main.dataset.process) location.reload();
    else state("on", "live");
  });
  events.addEventListener("fragment", ({ data }) => replace(JSON.parse(data)));
  events.addEventListener("line", ({ data }) => add(JSON.parse(data)));
  events.addEventListener("error", () => state("off", "not connected; trying again"));

  dress(document);
  ages(document);
  setInterval(() => ages(document), 5000);
})();
