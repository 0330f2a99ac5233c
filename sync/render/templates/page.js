"use strict";
(() => {
  const PAGE = 100;
  const COLUMNS = [
    ["status", "Status"], ["action", "Action"], ["name", "Rule"], ["from", "From"], ["to", "To"],
    ["source", "Source"], ["destination", "Destination"], ["service", "Service, application"],
    ["tags", "Tags"], ["why", "Why"], ["remedy", "Remedy"], ["calico", "Calico rules"],
  ];
  const data = JSON.parse(document.getElementById("data").textContent);
  const control = (id) => document.getElementById(id);
  const collator = new Intl.Collator(undefined, { numeric: true });
  let printing = false;

  const element = (tag, text, name) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.append(text);
    if (name) made.className = name;
    return made;
  };

  // A line may be cut behind a sign, never inside a word or an address.
  const CUTS = /(?<=[-_/:,;|\\@=+&]+|[^\d.]\.)(?=[^-_./:,;|\\@=+&\s])/;
  const whole = (text, name) => {
    const made = element("bdi", undefined, name || "name");
    text.split(CUTS).forEach((part, index) => {
      if (index) made.append(document.createElement("wbr"));
      made.append(part);
    });
    return made;
  };
  // A text that would fill the page is shown in part, until someone asks for the rest.
  const LONGEST = 600, SHOWN = 300;
  const named = (text, name) => {
    if (text.length <= LONGEST) return whole(text, name);
    const made = element("span", undefined, name || "name");
    const more = element("button", `… all ${text.length.toLocaleString("en")} letters`, "more-of-it");
    more.type = "button";
    more.addEventListener("click", () => made.replaceWith(whole(text, name)));
    made.title = text;
    made.append(whole([...text.slice(0, SHOWN)].slice(0, -1).join("")), more);
    return made;
  };
  document.querySelectorAll("bdi.name").forEach((each) => {
    if (each.childElementCount === 0) each.replaceWith(named(each.title || each.textContent));
  });

  // --- rules ----------------------------------------------------------------------------------

  const listed = (cell, values) => {
    for (const value of values) cell.append(named(value, "each"));
  };

  const rowOf = (rule, several) => {
    const row = element("tr");
    row.setAttribute("role", "row");
    row.className = rule.status;
    for (const [key, head] of COLUMNS) {
      const cell = element("td", undefined, key === "name" ? "name-cell" : key);
      cell.setAttribute("role", "cell");
      cell.dataset.head = head;
      const value = rule[key];
      if (key === "status") cell.append(element("span", value, `badge ${value}`));
      else if (key === "action") cell.append(element("span", value, value === "allow" ? "action-allow" : "action-deny"));
      else if (key === "name") {
        const place = named(several ? `${rule.place} of ${rule.target}` : rule.place);
        place.className = "place";
        cell.append(named(value), place);
      } else if (Array.isArray(value)) listed(cell, value);
      else cell.append(named(value));
      row.append(cell);
    }
    return row;
  };

  const hay = (rule) => Object.values(rule).flat().join("\n").toLowerCase();
  const sections = data.clusters.map((cluster, number) => {
    const table = document.querySelector(`[data-rules="c${number}"]`);
    return {
      table, body: table.tBodies[0], section: table.closest("section"), page: 0,
      rules: cluster.rules.map((rule, index) => ({ rule, index, text: hay(rule) })),
      several: new Set(cluster.rules.map((rule) => rule.target)).size > 1,
      shown: [], sort: null, backwards: false,
    };
  });

  const has = (zones, zone) => !zone || zones.includes(zone) || zones.includes("any");
  const matching = (section) => {
    const words = control("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [status, action, from, to] = ["status", "action", "from", "to"].map((id) => control(id).value);
    const found = section.rules.filter(({ rule, text }) =>
      (!status || rule.status === status) && (!action || rule.action === action) &&
      has(rule.from, from) && has(rule.to, to) && words.every((word) => text.includes(word)));
    if (section.sort) {
      const key = (each) => [each.rule[section.sort]].flat().join(" ");
      found.sort((one, other) => collator.compare(key(one), key(other)) || one.index - other.index);
      if (section.backwards) found.reverse();
    }
    return found;
  };

  const show = (section) => {
    const pages = Math.max(1, Math.ceil(section.shown.length / PAGE));
    section.page = Math.min(section.page, pages - 1);
    const first = section.page * PAGE;
    const some = printing ? section.shown : section.shown.slice(first, first + PAGE);
    section.body.replaceChildren(...some.map(({ rule }) => rowOf(rule, section.several)));
    const count = section.shown.length.toLocaleString("en");
    const all = section.rules.length.toLocaleString("en");
    section.section.querySelector(".found").textContent =
      section.shown.length === section.rules.length ? `${all} rules` : `${count} of ${all} rules`;
    const pager = section.section.querySelector(".pages");
    pager.hidden = pages === 1;
    pager.querySelector(".page").textContent = `Page ${section.page + 1} of ${pages}`;
    pager.querySelector(".previous").disabled = section.page === 0;
    pager.querySelector(".next").disabled = section.page === pages - 1;
  };

  const update = () => {
    for (const section of sections) {
      section.shown = matching(section);
      section.page = 0;
      show(section);
    }
    const status = control("status").value;
    const words = control("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll("tr[data-status]")) {
      const text = row.textContent.toLowerCase();
      row.hidden = Boolean(status && row.dataset.status !== status) || !words.every((word) => text.includes(word));
    }
  };

  const options = (id, values) => {
    for (const value of [...new Set(values)].filter((each) => each && each !== "any").sort(collator.compare))
      // Without a value of its own an option loses spaces of its text.
      control(id).append(new Option(value, value));
  };
  const every = data.clusters.flatMap((cluster) => cluster.rules);
  options("action", every.map((rule) => rule.action));
  options("from", every.flatMap((rule) => rule.from));
  options("to", every.flatMap((rule) => rule.to));

  for (const section of sections) {
    const pager = section.section.querySelector(".pages");
    const turn = (by) => () => { section.page += by; show(section); };
    pager.querySelector(".previous").addEventListener("click", turn(-1));
    pager.querySelector(".next").addEventListener("click", turn(1));
    for (const button of section.table.querySelectorAll("[data-sort]")) {
      button.addEventListener("click", () => {
        const same = section.sort === button.dataset.sort;
        // The third time: the order of evaluation again.
        if (same && section.backwards) { section.sort = null; section.backwards = false; }
        else { section.backwards = same; section.sort = button.dataset.sort; }
        for (const head of section.table.querySelectorAll("th")) head.setAttribute("aria-sort", "none");
        if (section.sort)
          button.parentElement.setAttribute("aria-sort", section.backwards ? "descending" : "ascending");
        section.shown = matching(section);
        show(section);
      });
    }
  }

  let waiting = 0;
  control("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  for (const id of ["status", "action", "from", "to"]) control(id).addEventListener("change", update);
  const form = document.querySelector("form.controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { themed(); update(); }, 0));
  const themed = () => {
    const theme = control("theme").value;
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  control("theme").addEventListener("change", themed);
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); control("search").focus(); }
  });

  // On paper there are no pages to turn.
  const print = (on) => () => {
    if (printing === on) return;
    printing = on;
    sections.forEach(show);
  };
  window.addEventListener("beforeprint", print(true));
  window.addEventListener("afterprint", print(false));
  const media = window.matchMedia("print");
  media.addEventListener("change", () => print(media.matches)());

  // --- who may reach whom ---------------------------------------------------------------------

  const said = { all: "every flow", some: "some flows", none: "nothing", unknown: "unknown", "no flows": "no flow is possible" };
  const list = (side, title, values) => {
    if (!values.length) return;
    side.append(element("h5", title));
    const line = element("p");
    values.forEach((value, index) => line.append(index ? ", " : "", named(value)));
    side.append(line);
  };

  const sideOf = (title, reach) => {
    const side = element("div");
    side.append(element("h4", `${title}: ${said[reach.state]}`));
    if (reach.because) side.append(element("p", `${reach.because}.`));
    if (reach.state === "some") {
      list(side, "Between all addresses", reach.services);
      list(side, "Between some addresses", reach.partly);
      list(side, "Perhaps: depends on what Calico cannot see", reach.perhaps);
    }
    if (reach.rules.length) {
      side.append(element("h5", "Rules that decide, in order"));
      const rules = element("ol");
      for (const rule of reach.rules) {
        const item = element("li", `${rule.action || "unknown action"} `);
        item.append(named(rule.name || "the tier's default"));
        if (rule.position !== null) item.append(` (${rule.device_group} ${rule.rulebase} ${rule.position})`);
        if (rule.calico.length) {
          const places = element("div", undefined, "place");
          rule.calico.forEach((place, index) => places.append(index ? ", " : "", named(place)));
          item.append(places);
        }
        rules.append(item);
      }
      side.append(rules);
    }
    return side;
  };

  const unlike = (cell) => {
    if (cell.unlike === "unknown") return ["Whether they differ is unknown."];
    const words = [];
    if (cell.lost) words.push(`Calico denies some flows that the firewall may allow, such as ${cell.lost}.`);
    if (cell.gained) words.push(`Calico allows some flows that the firewall may deny, such as ${cell.gained}.`);
    return words;
  };
  data.clusters.forEach((cluster, number) => cluster.matrices.forEach((matrix, index) => {
    const id = `c${number}-${index}`;
    const table = document.querySelector(`[data-matrix="${id}"]`);
    if (!table) return;
    const cells = new Map(matrix.cells.map((cell) => [JSON.stringify([cell.from, cell.to]), cell]));
    const panel = document.getElementById(`${id}-opened`);
    table.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const open = button.getAttribute("aria-expanded") === "true";
      for (const each of table.querySelectorAll("button")) each.setAttribute("aria-expanded", "false");
      panel.hidden = open;
      if (open) return;
      button.setAttribute("aria-expanded", "true");
      const cell = cells.get(JSON.stringify([button.dataset.from, button.dataset.to]));
      const title = element("h4");
      title.append(named(cell.from), " → ", named(cell.to));
      const sides = element("div", undefined, "sides");
      sides.append(sideOf("Firewall", cell.firewall), sideOf("Calico", cell.calico));
      panel.replaceChildren(title, ...unlike(cell).map((words) => element("p", words)), sides);
    });
  }));

  update();
})();
