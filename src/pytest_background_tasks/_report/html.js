"use strict";
/* The page of a failure. Data from the program under test is added to it as text only, never as markup. */

const began = performance.now();
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

/** Creates an HTML element; children are elements or text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function button(text, action, attributes = {}) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", action);
  return element;
}

// The run.

/** Adds to a run the values that the functions below need again and again. */
function prepare(run) {
  const places = new Map(run.steps.map((step, place) => [step.index, place]));
  const stepsOf = run.tasks.map(() => []); // for each task, the places of its steps
  run.steps.forEach((step, place) => {
    Object.assign(step, { place, resumedAt: step.resumedAt ?? [], executed: step.executed ?? [], suspendedAt: step.suspendedAt ?? [] });
    Object.assign(step, { starts: step.starts ?? [], lines: step.lines ?? [], made: [], effects: [] });
    step.deviations = run.deviations.filter((each) => each.index === step.index);
    step.isDeviating = step.deviations.length > 0;
    if (step.isStep) {
      step.nth = stepsOf[step.task].length;
      step.before = run.steps[stepsOf[step.task].at(-1)];
      stepsOf[step.task].push(place);
    }
  });
  const behind = (index) => { // a callback forwards the work of a task
    const through = [];
    let step = run.steps[places.get(index)];
    while (step && step.task === undefined) {
      through.push(step.callback);
      step = run.steps[places.get(step.wokenBy)];
    }
    return { step, through };
  };
  for (const step of run.steps) {
    const { step: waker, through } = behind(step.wokenBy);
    Object.assign(step, { waker, through });
    if (waker && step.task !== undefined) waker.made.push(step);
    step.causes = [...new Set((step.causedBy ?? []).map((index) => behind(index).step).filter(Boolean))];
    if (step.task !== undefined) for (const cause of step.causes) cause.effects.push(step);
  }
  let line = 0;
  for (const step of run.steps) { // an empty row before a step with a note
    step.note = note(run, step);
    if (step.note) line += 1;
    step.line = line++;
  }
  run.stepsOf = stepsOf;
  run.height = line;
  run.first = run.steps.find((step) => step.isDeviating) ?? divergenceOf(run) ?? run.steps.at(-1);
  return run;
}

/** The note above a step's row: that steps are left out, or that the orders diverge. */
function note(run, step) {
  const before = run.steps[step.place - 1]?.index ?? -1;
  if (step.index > before + 1) {
    const count = step.index - before - 1;
    return count === 1 ? "1 step is not shown" : `${count} steps are not shown`;
  }
  if (step.index !== data.divergence) return "";
  const other = data.runs.find((each) => each !== run);
  const there = other.steps.find((each) => each.index === data.divergence);
  const happens = there ? there.namedBeginning : "nothing more happens";
  return `the orders diverge here: in the ${run.passes ? "failing" : "default"} order, ${happens}`;
}

const divergenceOf = (run) => run.steps.find((step) => step.index === data.divergence);
const nameOf = (run, step) => (step.task === undefined ? "" : run.tasks[step.task]);
const codeOf = ([number, line]) => data.functions[number].lines.find(([each]) => each === line)?.[1].trim() ?? "";
const siteOf = ([number, line]) => `${data.functions[number].file}:${line}`;
const seconds = (time) => `${Number(time.toFixed(6))} s`;

/** The deviations of a step, in sentences. */
const deviates = ({ deviations }) => `Deviation: ${deviations.map((each) => each.sentence).join("; ")}`;

/** A step in one sentence. */
function sentence(run, step) {
  const where = step.resumedAt.length && step.nth !== 0 ? ` at ${siteOf(step.resumedAt.at(-1))}` : "";
  const happens = step.namedBeginning + where;
  const starts = step.starts.length ? `, starts ${step.starts.map((lane) => run.tasks[lane]).join(" and ")}` : "";
  const causes = step.causes.map((cause) => `${nameOf(run, cause)} in step ${cause.index + 1}`);
  if (!step.isStep) return `${happens}${causes.length ? `, ${step.relation} ${causes.join(" and ")}` : ""}.`;
  if (step.ending) return `${happens}${starts}, and ${step.ending}.`;
  const place = step.suspendedAt.length ? ` at ${siteOf(step.suspendedAt.at(-1))}` : "";
  return `${happens}${starts}, then waits for ${step.waitingFor || "something"}${place}.`;
}

// The rows, one for each step, and the drawing beside them.

function row(run, step, previous) {
  const { index, time } = step;
  const kinds = [step.isStep ? "step" : "call", step.isDeviating && "odd", step.note && "noted"];
  const text = make("span", { class: "text" });
  const marks = step.deviations.flatMap(({ mark }) => [make("span", { class: "mark" }, mark), " "]);
  const name = make("span", { class: "who" }, nameOf(run, step));
  if (step.task !== undefined) text.append(make("span", { class: "task" }, name, " ", ...marks));
  const after = step.ending ?? step.wait ?? "";
  const before = step.delivery ?? (step.lines.length || after || marks.length ? "" : step.beginning);
  const did = make("span", { class: "did" });
  if (before) did.append(make("span", { class: "then" }, before + (after && !step.lines.length ? "," : "")), " ");
  const codes = step.lines.flatMap(([number, code, deep]) => [
    make("code", deep ? { class: "inner" } : {}, make("span", { class: "at" }, number), ` ${code}`), " ",
  ]);
  if (codes.length) did.append(make("span", { class: "codes" }, ...codes), " ");
  if (after) did.append(make("span", { class: "then" }, after));
  text.append(did);
  const isLater = time !== (previous?.time ?? 0);
  const number = make("span", { class: "no" }, make("span", { class: "unseen" }, "Step "), `${index + 1}`);
  const when = make("span", { class: "time" }, isLater ? seconds(time) : "");
  const attributes = { role: "option", id: `step-${index}`, "aria-selected": "false", class: kinds.filter(Boolean).join(" ") };
  return make("li", step.note ? { ...attributes, "data-note": step.note } : attributes, number, when, text);
}

/** Everything that is shown of a run: the heads of the lanes, the drawing, the rows, the result. */
function picture(run) {
  const width = laneWidth(run.tasks.length);
  const heads = make("div", { class: "lanes", "aria-hidden": "true" }, ...run.tasks.map((name, lane) => {
    const head = make("span", { title: name }, name);
    head.style.setProperty("--n", lane);
    return head;
  }));
  const list = make("ol", { role: "listbox", tabindex: "0", "aria-label": `Steps of ${run.name}` });
  const drawn = drawing(run, width);
  run.steps.forEach((step, place) => {
    step.row = row(run, step, run.steps[place - 1]);
    list.append(step.row);
  });
  const outcome = make("p", { class: `outcome ${run.passes ? "passes" : "fails"}` }, run.result.replace(/:$/, "") || "fails");
  const all = make("div", { class: "drawing" }, heads, make("div", { class: "drawing" }, list, drawn.svg), outcome);
  const longest = Math.min(9, Math.max(...run.tasks.map((name) => name.length)) * 0.46);
  const hasTime = run.steps.some((step) => step.time > 0);
  all.style.setProperty("--lane", `${width}rem`);
  all.style.setProperty("--lanes", run.tasks.length);
  all.style.setProperty("--head", `${Math.max(1.5, longest * 0.66 + 1.25)}rem`);
  all.style.setProperty("--gutter", hasTime ? "6.5rem" : "3.25rem");
  return { all, list, ...drawn };
}

// The details of one step.

function detail(run, step) {
  const panel = $("detail");
  const name = nameOf(run, step);
  const heading = make("h2", {}, `Step ${step.index + 1}`);
  if (name) heading.append(" \u00b7 ", make("span", { class: "who" }, name));
  const facts = make("dl");
  const fact = (term, ...words) => facts.append(make("dt", {}, term), make("dd", {}, ...words));
  if (step.causes.length) fact(step.relation[0].toUpperCase() + step.relation.slice(1), ...step.causes.flatMap((each) => [jump(run, each), " "]));
  else fact("Woken by", ...wakerOf(run, step));
  if (step.waitingFor) fact("Then waits for", step.waitingFor);
  if (step.starts.length) fact("Starts", step.starts.map((lane) => run.tasks[lane]).join(", "));
  const made = step.made.filter((each) => each.task !== step.task);
  if (made.length) fact("Makes ready", ...made.flatMap((each) => [jump(run, each), " "]));
  if (step.effects.length) fact("Causes", ...step.effects.map((each) => make("div", {}, jump(run, each), ` ${each.beginning}`)));
  if (run.steps.at(-1).time > 0) fact("Virtual time", seconds(step.time));
  panel.replaceChildren(heading, make("p", {}, sentence(run, step)));
  if (step.isDeviating) panel.append(make("p", { class: "deviation" }, deviates(step)));
  panel.append(facts, ...sources(step), ...others(run, step));
  panel.scrollTop = 0;
}

function jump(run, step) {
  return button(`step ${step.index + 1}, ${nameOf(run, step)}`, () => choose(step));
}

function wakerOf(run, step) {
  const { waker, before, through } = step;
  if (!waker) return [step.index ? "an external event, or a timer" : "the start of the test"];
  const by = through.length ? ` (through ${through.join(", ")})` : "";
  if (waker === before) {
    const why = before.yields ? "which yielded once" : "which requested an external event";
    return [jump(run, waker), ` itself, ${why}`];
  }
  return [jump(run, waker), by];
}

/** The functions that a step was in, outermost first, with the lines at which it resumed, that it executed, and at which it stopped. */
function sources({ resumedAt, executed, suspendedAt, ending, nth }) {
  const said = new Map();
  const say = (places, kind, words) => places.forEach(([number, line], depth) => {
    const lines = said.get(number) ?? said.set(number, new Map()).get(number);
    const isInner = depth === places.length - 1;
    const before = lines.get(line);
    const text = isInner ? words : ""; // an outer function only waits for the inner one
    lines.set(line, { kind: kind || before?.kind, text: [before?.text, text].filter(Boolean).join(", ") });
  });
  say(resumedAt, "at", nth === 0 ? "starts here" : "resumes here");
  executed.forEach((place) => say([place], "", ""));
  say(suspendedAt, ending ? "raised" : "until", ending ?? "then waits here");
  return [...said].map(([number, lines]) => {
    const { name, file, lines: source } = data.functions[number];
    const marked = [...lines.keys()];
    const hasRun = (each) => executed.some(([other, line]) => other === number && line === each);
    const margin = Math.min(...source.filter(([, text]) => text).map(([, text]) => text.search(/\S/)));
    const shown = source.length <= 40 ? source : source.filter(([each]) => marked.some((line) => Math.abs(line - each) <= 8));
    const box = make("div", { class: "lines", tabindex: "0", role: "group", "aria-label": `Source of ${name}` });
    let last = null;
    for (const [each, text] of shown) {
      if (last !== null && each > last + 1) box.append(make("div", {}, make("span", { class: "no" }, "\u22ef")));
      const note = lines.get(each);
      const code = make("code", {}, text.slice(margin));
      box.append(make("div", note ? { class: `${note.kind ?? ""} ${hasRun(each) ? "ran" : ""}` } : {}, make("span", { class: "no" }, `${each}`), code, make("span", { class: "said" }, note?.text ?? "")));
      last = each;
    }
    const caption = make("figcaption", {}, make("b", {}, name), make("span", {}, `${file}:${suspendedAt.find(([other]) => other === number)?.[1] ?? marked.at(-1)}`));
    return make("figure", { class: "source" }, caption, ...(shown.length ? [box] : []));
  });
}

/** The state of all other tasks after a step. */
function others(run, step) {
  const lines = run.tasks.flatMap((name, lane) => {
    if (lane === step.task) return [];
    const last = run.steps[run.stepsOf[lane].findLast((place) => place <= step.place)];
    const words = !last ? "has not run yet" : last.ending ? `has ended: ${last.ending}` : `waits for ${last.waitingFor || "something"}`;
    const lines = last && !last.ending ? last.suspendedAt.map((place) => make("span", { class: "line" }, make("code", {}, codeOf(place)), ` ${siteOf(place)}`)) : [];
    return [make("li", {}, make("span", { class: "who" }, name), make("span", {}, words, ...lines))];
  });
  return lines.length ? [make("h3", {}, "Meanwhile"), make("ul", { class: "others" }, ...lines)] : [];
}

// The selected step.

const runs = data.runs.map(prepare);
const pictures = new Map();
let shown = runs.at(-1);
let chosen = null;

function choose(step) {
  const { list, svg, x, y } = pictures.get(shown);
  chosen?.row?.setAttribute("aria-selected", "false");
  chosen = step;
  step.row.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", step.row.id);
  reveal(step.row);
  const ring = svg.querySelector(".ring");
  ring.setAttribute("visibility", step.task === undefined ? "hidden" : "visible");
  ring.setAttribute("cx", x(step.task ?? 0));
  ring.setAttribute("cy", y(step));
  const arrows = step.task === undefined ? [] : [arrowTo(step, x, y), ...arrowsOverNetwork(step, x, y)].filter(Boolean);
  svg.querySelector(".chosen.line").setAttribute("d", arrows.map(({ line }) => line).join(""));
  svg.querySelector(".chosen.heads").setAttribute("d", arrows.map(({ head }) => head).join(""));
  document.querySelectorAll(".lanes span").forEach((head, lane) => head.classList.toggle("chosen", lane === step.task));
  detail(shown, step);
  $("status").textContent = `Step ${step.index + 1}: ${sentence(shown, step)} ${step.isDeviating ? deviates(step) : ""}`;
}

/** Scrolls a row into view, but not the page. */
function reveal(row) {
  const [view, at, head] = [$("scroll"), row.getBoundingClientRect(), row.closest(".drawing").previousElementSibling];
  const { top, bottom } = view.getBoundingClientRect();
  const above = top + head.offsetHeight + (row.dataset.note ? at.height : 0) - at.top;
  if (above > 0) view.scrollTop -= above;
  else if (at.bottom > bottom) view.scrollTop += at.bottom - bottom + 1;
}

/** Shows a run, and selects in it the step that was selected in the other one. */
function show(run) {
  const other = chosen;
  const lane = other && other.task !== undefined ? run.tasks.indexOf(shown.tasks[other.task]) : -1;
  shown = run;
  chosen = null;
  if (!pictures.has(run)) pictures.set(run, picture(run));
  $("scroll").replaceChildren(pictures.get(run).all);
  for (const each of $("orders").children) each.setAttribute("aria-pressed", each.textContent === run.name);
  const same = other && run.steps.find((each) => each.isStep && each.task === lane && each.nth === other.nth);
  choose(same ?? (other && divergenceOf(run)) ?? run.first);
}

const moves = {
  ArrowDown: () => shown.steps[chosen.place + 1],
  ArrowUp: () => shown.steps[chosen.place - 1],
  ArrowRight: () => shown.steps.find((each) => each.task === chosen.task && each.place > chosen.place),
  ArrowLeft: () => shown.steps.findLast((each) => each.task === chosen.task && each.place < chosen.place),
  Home: () => shown.steps[0],
  End: () => shown.steps.at(-1),
  d: () => {
    const different = shown.steps.filter((each) => each.isDeviating || each.index === data.divergence);
    return different.find((each) => each.place > chosen.place) ?? different[0];
  },
};

function move(key) {
  const step = moves[key]();
  if (step) choose(step);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("#detail")) return;
  if (event.key in moves) move(event.key);
  else if (event.key === "o") show(runs.find((each) => each !== shown) ?? shown);
  else return;
  event.preventDefault();
});

/** The complete text of a row that is cut, a statement a line. */
function whole(row) {
  const isCut = [...row.querySelectorAll(".codes, .then")].some((each) => each.scrollWidth > each.clientWidth);
  return isCut ? [...row.querySelectorAll(".task, code, .then")].map((each) => each.textContent.trim()).join("\n") : "";
}

const stepAt = (event) => {
  const element = event.target.closest?.("li[role=option]");
  return element && shown.steps.find((each) => each.row === element);
};
$("scroll").addEventListener("click", (event) => {
  const step = stepAt(event);
  if (step) choose(step);
});
$("scroll").addEventListener("pointerover", (event) => {
  const step = event.pointerType === "mouse" && stepAt(event);
  if (!step) return;
  step.row.title = whole(step.row);
  detail(shown, step);
});
$("scroll").addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") detail(shown, chosen);
});

// The rest of the page.

function deviations() {
  if (runs.length === 1) return [make("p", {}, "The test fails in asyncio's default order.")];
  const failing = runs.at(-1);
  const items = failing.deviations.map(({ sentence, code, path, index }) => {
    const step = index === null ? undefined : failing.steps.find((each) => each.index === index);
    const where = step && button(`step ${index + 1}`, () => {
      if (shown !== failing) show(failing);
      choose(step);
    });
    const otherwise = index === null ? "(not before the end)" : `(step ${index + 1})`;
    return make("li", {}, `${sentence} `, ...(code ? [make("code", {}, code), " "] : []), ...(path ? [`(${path}) `] : []), where ?? otherwise);
  });
  return [make("p", {}, data.headline), make("ul", {}, ...items)];
}

function theme(wanted) {
  document.documentElement.dataset.theme = wanted;
  $("theme").textContent = wanted === "dark" ? "Light" : "Dark";
}

$("theme").textContent = matchMedia("(prefers-color-scheme: dark)").matches ? "Light" : "Dark";
$("theme").addEventListener("click", () => theme($("theme").textContent.toLowerCase()));
$("previous").addEventListener("click", () => move("ArrowUp"));
$("next").addEventListener("click", () => move("ArrowDown"));
$("deviation").addEventListener("click", () => move("d"));
$("orders").append(...runs.map((run) => button(run.name, () => show(run))));
$("deviations").append(...deviations());
$("network").hidden = !runs.some((run) => run.steps.some((step) => step.causes.length));
$("work").hidden = false;
show(shown);
wide.addEventListener("change", () => { pictures.clear(); show(shown); });
performance.measure("draw", { start: began });
