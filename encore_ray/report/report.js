// The page without this is whole; with it figures answer. Texts of the run only ever become text, never markup.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const percent = (share) => `${(100 * share).toFixed(1)}%`;

  // Copy a command
  for (const box of all(".copy")) {
    const button = make("button", { type: "button" }, "Copy");
    const code = box.querySelector("code");
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(code);
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        done = document.execCommand("copy"); // a frame may not use the clipboard otherwise
      }
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    box.append(button);
  }

  // Values of marks, at once where pointed at
  const tip = make("div", { class: "tip", hidden: "" });
  for (const title of all("svg > * title")) {
    title.parentNode.setAttribute("data-tip", title.textContent);
    title.parentNode.setAttribute("aria-label", title.textContent);
    title.remove();
  }
  addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-tip]");
    tip.hidden = !mark;
    if (mark) tip.textContent = mark.getAttribute("data-tip");
  });
  addEventListener("pointermove", (event) => {
    if (tip.hidden) return;
    const left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, event.clientY - tip.offsetHeight - 12)}px`;
  });

  // Tables: sort by a head, filter by words
  const said = (cell) =>
    [...cell.childNodes].filter((node) => node.nodeName !== "SMALL").map((node) => node.textContent).join("").trim();
  const numeric = (text) => {
    const found = text.replaceAll("−", "-").replaceAll(",", "").match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/i);
    return found ? Number(found[0]) : NaN;
  };
  const sortBy = (table, column, direction, order) => {
    const body = table.tBodies[0];
    const value = (row) => {
      const cell = row.cells[column];
      return cell.classList.contains("number") ? numeric(said(cell)) : said(cell);
    };
    const place = (row) => (row.classList.contains("total") ? 0 : row.cells.length === 1 ? 2 : 1);
    const compared = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (typeof x === "string") return direction * x.localeCompare(y, undefined, { numeric: true });
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return direction * (x - y);
    };
    const rows = direction ? [...order].sort((a, b) => place(a) - place(b) || compared(a, b)) : order;
    body.append(...rows);
  };
  for (const table of all("main table")) {
    const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
    const order = table.tBodies[0] ? [...table.tBodies[0].rows] : [];
    if (order.length > 2 && !table.classList.contains("sweep")) {
      heads.forEach((head, column) => {
        if (head.classList.contains("plot") || !head.textContent.trim()) return;
        const first = head.classList.contains("number") ? -1 : 1;
        const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
        head.append(button);
        button.addEventListener("click", () => {
          const before = { ascending: 1, descending: -1 }[head.getAttribute("aria-sort")] || 0;
          const direction = before === 0 ? first : before === first ? -first : 0;
          heads.forEach((each) => each.removeAttribute("aria-sort"));
          if (direction) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
          sortBy(table, column, direction, order);
        });
      });
    }
    const box = table.closest(".scroll");
    if (order.length > 12 && heads.length && box) {
      const name = box.getAttribute("aria-label");
      const field = make("input", { type: "search", placeholder: "filter", "aria-label": `Filter: ${name}` });
      const count = make("span", {});
      const words = order.map((row) => row.textContent.toLowerCase());
      field.addEventListener("input", () => {
        const wanted = field.value.toLowerCase().split(/\s+/);
        const shown = words.map((text) => wanted.every((word) => text.includes(word)));
        order.forEach((row, index) => (row.hidden = !shown[index]));
        count.textContent = field.value ? `${shown.filter(Boolean).length} of ${order.length}` : "";
      });
      box.before(make("p", { class: "filter" }, field, count));
    }
  }

  // A rule picked in one figure is picked in all
  const bar = make("aside", { class: "picked-bar", hidden: "", "aria-label": "The picked rule" });
  const byRule = new Map();
  for (const mark of all("[data-rule]")) {
    const name = mark.getAttribute("data-rule");
    if (!byRule.has(name)) byRule.set(name, []);
    byRule.get(name).push(mark);
  }
  // By keys, too: in the first table that has a rule, since each further place would be one more stop on the way.
  for (const marks of byRule.values()) marks.find((mark) => mark.localName === "tr")?.setAttribute("tabindex", "0");
  let picked = null;
  const pick = (name) => {
    (byRule.get(picked) || []).forEach((mark) => mark.classList.remove("picked"));
    picked = name === picked ? null : name;
    document.body.classList.toggle("picking", picked !== null);
    bar.hidden = picked === null;
    if (picked === null) return;
    const marks = byRule.get(picked);
    marks.forEach((mark) => mark.classList.add("picked"));
    const places = new Map();
    for (const mark of marks) {
      const section = mark.closest("section");
      const visible = mark.getClientRects().length || mark.closest("details:not([open])");
      if (section && visible && !places.has(section)) places.set(section, mark);
    }
    const links = [...places].map(([section, mark]) => {
      const name = document.querySelector(`nav a[href="#${section.id}"]`).textContent;
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => {
        for (let up = mark.closest("details"); up; up = up.parentElement.closest("details")) up.open = true;
        mark.scrollIntoView({ block: "center", behavior: "smooth" });
      });
      return button;
    });
    const close = make("button", { type: "button", "aria-label": "Let it go" }, "✕");
    close.addEventListener("click", () => pick(null));
    const facts = marks.map((mark) => mark.getAttribute("data-facts")).find(Boolean) || "";
    bar.replaceChildren(make("b", {}, make("bdi", {}, picked)), make("span", {}, facts), ...links, close);
  };
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-rule]");
    const busy = event.target.closest("button, a, input, summary, .tip") || getSelection().toString();
    if (mark && !busy) pick(mark.getAttribute("data-rule"));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && picked !== null) pick(null);
    if (event.key === "Enter" && event.target.matches("tr[data-rule]")) pick(event.target.getAttribute("data-rule"));
  });

  // Temperature: weights by softmax(-H / temperature) as `weigh` makes them, accuracies where they were counted
  for (const table of all("table.temperatures")) {
    const rows = [...table.tBodies[0].rows].filter((row) => row.hasAttribute("data-entropy"));
    const entropies = rows.map((row) => Number(row.getAttribute("data-entropy")));
    const points = rows.map((row) => Number(row.getAttribute("data-points")));
    const counted = all("th[data-temperature]", table).map((head) => ({
      temperature: Number(head.getAttribute("data-temperature")),
      accuracy: head.getAttribute("data-accuracy"),
    }));
    const ends = counted.map((each) => each.temperature);
    const [low, high] = [Math.log2(Math.min(...ends)) - 1, Math.log2(Math.max(...ends)) + 1];
    const attributes = { type: "range", min: low, max: high, step: "any", "aria-label": "Temperature" };
    const slider = make("input", attributes);
    slider.value = Math.log2(Number(table.getAttribute("data-temperature")));
    const told = make("output", {});
    const cells = rows.map((row) => {
      const rod = make("span", { class: "rod" });
      const cell = make("td", { class: "live number" }, rod, make("span", {}));
      row.cells[1].after(cell);
      return cell;
    });
    const live = make("th", { scope: "col", class: "live number" }, "weight there");
    table.tHead.rows[0].cells[1].after(live);
    for (const row of table.tBodies[0].rows) if (!rows.includes(row)) row.cells[1].after(make("td", { class: "live" }));
    const nearest = (log) => {
      const near = counted.filter((each) => Math.abs(Math.log2(each.temperature) - log) < (high - low) / 100);
      return near.length ? near[0] : null;
    };
    const show = () => {
      const log = Number(slider.value);
      const on = nearest(log);
      const temperature = on ? on.temperature : 2 ** log;
      const lowest = Math.min(...entropies);
      const shares = entropies.map((entropy, k) => points[k] * Math.exp((lowest - entropy) / temperature));
      const total = shares.reduce((sum, share) => sum + share, 0);
      const weights = shares.map((share) => share / total);
      const top = Math.max(...weights);
      const like = 1 / weights.reduce((sum, weight) => sum + weight * weight, 0);
      cells.forEach((cell, k) => {
        cell.firstChild.style.width = `${(4 * weights[k]) / top}em`;
        cell.lastChild.textContent = percent(weights[k]);
      });
      const below = counted.filter((each) => each.temperature < temperature).at(-1);
      const above = counted.find((each) => each.temperature > temperature);
      const beside = [below, above].filter(Boolean).map((each) => `${each.accuracy} at ${each.temperature}`);
      const accuracy = on
        ? `accuracy ${on.accuracy}, as counted`
        : `accuracy not counted here: ${beside.join(", ")}`;
      const digits = Number(temperature.toPrecision(3));
      told.textContent = `τ = ${digits}: weights act like ${like.toFixed(1)} rules; ${accuracy}`;
    };
    slider.addEventListener("input", show);
    show();
    const label = make("label", {}, "temperature ", slider);
    table.closest(".scroll").before(make("div", { class: "slider" }, label, told));
  }

  document.body.append(tip, bar);
  document.documentElement.classList.add("scripted");
})();
