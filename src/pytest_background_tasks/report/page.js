"use strict";
/* Draws a failure. What comes from the program under test is put on the page as text only, never as markup. */

const began = performance.now();
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const REM = 16; // of the drawing's own units; the style sheet scales it with the font
const wide = matchMedia("(min-width: 40.01rem)");

/** An HTML element; children are elements or text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function button(text, action, attributes = {}) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", action);
  return element;
}

// What the story says.

/** Adds to a story what is asked of it again and again. */
function prepare(story) {
  const places = new Map(story.moments.map((moment, place) => [moment.index, place]));
  const steps = story.lanes.map(() => []); // places of each lane's steps
  story.moments.forEach((moment, place) => {
    Object.assign(moment, { place, at: moment.at ?? [], ran: moment.ran ?? [], until: moment.until ?? [] });
    Object.assign(moment, { starts: moment.starts ?? [], lines: moment.lines ?? [], made: [] });
    moment.differences = story.differences.filter((each) => each.index === moment.index);
    moment.isOdd = moment.differences.length > 0;
    if (moment.isStep) {
      moment.nth = steps[moment.lane].length;
      moment.before = story.moments[steps[moment.lane].at(-1)];
      steps[moment.lane].push(place);
    }
  });
  for (const moment of story.moments) {
    moment.through = [];
    let waker = story.moments[places.get(moment.wokenBy)];
    while (waker && waker.lane === undefined) { // callbacks pass on what a task has done
      moment.through.push(waker.what.replace(/ is called$/, ""));
      waker = story.moments[places.get(waker.wokenBy)];
    }
    moment.waker = waker;
    if (waker && moment.lane !== undefined) waker.made.push(moment);
  }
  let line = 0;
  for (const moment of story.moments) { // an empty row stands before a moment of which there is something to say
    moment.note = note(story, moment);
    if (moment.note) line += 1;
    moment.line = line++;
  }
  story.steps = steps;
  story.height = line;
  story.first = story.moments.find((moment) => moment.isOdd) ?? partingOf(story) ?? story.moments.at(-1);
  return story;
}

/** What is said above a moment's row: that steps are left out, or that the orders part. */
function note(story, moment) {
  const before = story.moments[moment.place - 1]?.index ?? -1;
  if (moment.index > before + 1) {
    const count = moment.index - before - 1;
    return count === 1 ? "1 step is left out here" : `${count} steps are left out here`;
  }
  if (moment.index !== data.parting) return "";
  const other = data.stories.find((each) => each !== story);
  const there = other.moments.find((each) => each.index === data.parting);
  const happens = there ? told(other, there) : "nothing more happens";
  return `here the orders part: ${story.passes ? "in the failing order" : "usually"} ${happens}`;
}

const partingOf = (story) => story.moments.find((moment) => moment.index === data.parting);
const nameOf = (story, moment) => (moment.lane === undefined ? "" : story.lanes[moment.lane]);
const codeOf = ([number, line]) => data.functions[number].lines.find(([each]) => each === line)?.[1].trim() ?? "";
const siteOf = ([number, line]) => `${data.functions[number].file}:${line}`;
const seconds = (time) => `${Number(time.toFixed(6))} s`;

const ending = ({ end }) => (end === "is cancelled" ? "ends cancelled" : end);

/** Who does what. */
function told(story, moment) {
  const name = nameOf(story, moment);
  if (!name) return moment.what;
  return `${name}${moment.what.startsWith("its ") ? ":" : ""} ${moment.what}`;
}

/** What is different at a moment, in sentences. */
const differs = ({ differences }) => `Different from usual: ${differences.map((each) => each.sentence).join("; ")}`;

/** A step in one sentence. */
function sentence(story, moment) {
  const where = moment.at.length && moment.nth !== 0 ? ` at ${siteOf(moment.at.at(-1))}` : "";
  const happens = told(story, moment) + where;
  const starts = moment.starts.length ? `, starts ${moment.starts.map((lane) => story.lanes[lane]).join(" and ")}` : "";
  if (!moment.isStep) return `${happens}.`;
  if (moment.end) return `${happens}${starts}, and ${ending(moment)}.`;
  const place = moment.until.length ? ` at ${siteOf(moment.until.at(-1))}` : "";
  return `${happens}${starts}, then waits for ${moment.waitsFor || "something"}${place}.`;
}

// Lanes over steps.

const rowHeight = () => (wide.matches ? 1.75 : 2.75) * REM;
const laneWidth = (count) => Math.max(0.5, Math.min(wide.matches ? 3 : 1.5, (wide.matches ? 14 : 8) / count));

/** The lifelines, marks and arrows of a story. */
function drawing(story, width) {
  const x = (lane) => (lane + 0.5) * width * REM;
  const y = ({ line }) => (line + 0.5) * rowHeight();
  const height = story.height * rowHeight();
  const size = { width: story.lanes.length * width * REM, height };
  const svg = draw("svg", { viewBox: `0 0 ${size.width} ${height}`, "aria-hidden": "true" });
  svg.style.width = `${size.width / REM}rem`;
  svg.style.height = `${height / REM}rem`;
  const paths = { waits: "", open: "", ready: "", late: "", wakes: "", heads: "", end: "" };
  const marks = [];
  story.steps.forEach((places, lane) => {
    for (const place of places) {
      const moment = story.moments[place];
      const { before, waker } = moment;
      const since = [before, waker].filter(Boolean).sort((one, other) => other.place - one.place)[0] ?? moment;
      if (before) paths.waits += `M${x(lane)} ${y(before)}V${y(since)}`;
      paths[moment.isOdd ? "late" : "ready"] += `M${x(lane)} ${y(moment.isOdd && before ? before : since)}V${y(moment)}`;
      if (moment.end) paths.end += `M${x(lane) - 7} ${y(moment) + 9}h14`;
    }
    const last = story.moments[places.at(-1)];
    if (last && !last.end) paths.open += `M${x(lane)} ${y(last)}V${height}`;
  });
  for (const moment of story.moments) {
    if (moment.lane === undefined) continue;
    const arrow = arrowTo(moment, x, y);
    if (arrow) { paths.wakes += arrow.line; paths.heads += arrow.head; }
    const radius = moment.isStep ? 5 : 3.5;
    const kind = `${moment.isStep ? "" : "call"}${moment.isOdd ? " odd" : ""}`;
    marks.push(draw("circle", { cx: x(moment.lane), cy: y(moment), r: Math.min(radius, width * 7), class: kind }));
  }
  svg.append(...Object.entries(paths).map(([kind, d]) => draw("path", { class: kind, d })), ...marks);
  svg.append(draw("path", { class: "chosen line", d: "" }), draw("path", { class: "chosen heads", d: "" }), draw("circle", { class: "ring", r: 9 }));
  return { svg, x, y };
}

/** From who made a step ready to its lifeline, at the moment at which it did. */
function arrowTo(moment, x, y) {
  const waker = moment.waker;
  if (!waker || waker.lane === moment.lane) return null;
  const [start, end, height] = [x(waker.lane), x(moment.lane), y(waker)];
  const back = end > start ? -6 : 6;
  return { line: `M${start} ${height}H${end}`, head: `M${end} ${height}l${back} -3.5v7z` };
}

function row(story, moment, previous) {
  const { index, time } = moment;
  const kinds = [moment.isStep ? "step" : "call", moment.isOdd && "odd", moment.note && "noted"];
  const text = make("span", { class: "text" });
  const marks = moment.differences.flatMap(({ mark }) => [make("span", { class: "mark" }, mark), " "]);
  const name = make("span", { class: "who" }, nameOf(story, moment));
  if (moment.lane !== undefined) text.append(make("span", { class: "task" }, name, " ", ...marks));
  const after = ending(moment) || (moment.waits ? `waits for ${moment.waits}` : "");
  const what = moment.gets ?? (moment.lines.length || after || marks.length ? "" : moment.what);
  const did = make("span", { class: "did" });
  if (what) did.append(make("span", { class: "then" }, what + (after && !moment.lines.length ? "," : "")), " ");
  const codes = moment.lines.flatMap(([number, code, deep]) => [
    make("code", deep ? { class: "inner" } : {}, make("span", { class: "at" }, number), ` ${code}`), " ",
  ]);
  if (codes.length) did.append(make("span", { class: "codes" }, ...codes), " ");
  if (after) did.append(make("span", { class: "then" }, after));
  text.append(did);
  const isLater = time !== (previous?.time ?? 0);
  const number = make("span", { class: "no" }, make("span", { class: "unseen" }, "Step "), `${index + 1}`);
  const when = make("span", { class: "time" }, isLater ? seconds(time) : "");
  const attributes = { role: "option", id: `step-${index}`, "aria-selected": "false", class: kinds.filter(Boolean).join(" ") };
  return make("li", moment.note ? { ...attributes, "data-note": moment.note } : attributes, number, when, text);
}

/** Everything that is shown of a story: heads of lanes, drawing, rows, outcome. */
function picture(story) {
  const width = laneWidth(story.lanes.length);
  const heads = make("div", { class: "lanes", "aria-hidden": "true" }, ...story.lanes.map((name, lane) => {
    const head = make("span", { title: name }, name);
    head.style.setProperty("--n", lane);
    return head;
  }));
  const list = make("ol", { role: "listbox", tabindex: "0", "aria-label": `Steps of ${story.name}` });
  const drawn = drawing(story, width);
  story.moments.forEach((moment, place) => {
    moment.row = row(story, moment, story.moments[place - 1]);
    list.append(moment.row);
  });
  const outcome = make("p", { class: `outcome ${story.passes ? "passes" : "fails"}` }, story.outcome.replace(/:$/, "") || "fails");
  const all = make("div", { class: "drawing" }, heads, make("div", { class: "drawing" }, list, drawn.svg), outcome);
  const longest = Math.min(9, Math.max(...story.lanes.map((name) => name.length)) * 0.46);
  const hasTime = story.moments.some((moment) => moment.time > 0);
  all.style.setProperty("--lane", `${width}rem`);
  all.style.setProperty("--lanes", story.lanes.length);
  all.style.setProperty("--head", `${Math.max(1.5, longest * 0.66 + 1.25)}rem`);
  all.style.setProperty("--gutter", hasTime ? "6.5rem" : "3.25rem");
  return { all, list, ...drawn };
}

// One step.

function detail(story, moment) {
  const panel = $("detail");
  const name = nameOf(story, moment);
  const heading = make("h2", {}, `Step ${moment.index + 1}`);
  if (name) heading.append(" \u00b7 ", make("span", { class: "who" }, name));
  const facts = make("dl");
  const fact = (term, ...words) => facts.append(make("dt", {}, term), make("dd", {}, ...words));
  fact("Woken by", ...wakerOf(story, moment));
  if (moment.waitsFor) fact("Then waits for", moment.waitsFor);
  if (moment.starts.length) fact("Starts", moment.starts.map((lane) => story.lanes[lane]).join(", "));
  const made = moment.made.filter((each) => each.lane !== moment.lane);
  if (made.length) fact("Makes ready", ...made.flatMap((each) => [jump(story, each), " "]));
  if (story.moments.at(-1).time > 0) fact("Virtual time", seconds(moment.time));
  panel.replaceChildren(heading, make("p", {}, sentence(story, moment)));
  if (moment.isOdd) panel.append(make("p", { class: "deviation" }, differs(moment)));
  panel.append(facts, ...sources(moment), ...others(story, moment));
  panel.scrollTop = 0;
}

function jump(story, moment) {
  return button(`step ${moment.index + 1}, ${nameOf(story, moment)}`, () => choose(moment));
}

function wakerOf(story, moment) {
  const { waker, before, through } = moment;
  if (!waker) return [moment.index ? "nobody in the program: a timer, or something from outside" : "the test begins"];
  const by = through.length ? ` (through ${through.join(", ")})` : "";
  if (waker === before) {
    const why = before.waitsFor === "its next turn" ? "which gave way for one turn" : "which asked for something from outside";
    return [jump(story, waker), ` itself, ${why}`];
  }
  return [jump(story, waker), by];
}

/** The functions that a step was in, outermost first, with the lines that it ran, at which it went on and stopped. */
function sources({ at, ran, until, end, nth }) {
  const said = new Map();
  const say = (places, kind, words) => places.forEach(([number, line], depth) => {
    const lines = said.get(number) ?? said.set(number, new Map()).get(number);
    const isInner = depth === places.length - 1;
    const before = lines.get(line);
    const text = isInner ? words : ""; // further out it only waits for what is within
    lines.set(line, { kind: kind || before?.kind, text: [before?.text, text].filter(Boolean).join(", ") });
  });
  say(at, "at", nth === 0 ? "starts here" : "goes on here");
  ran.forEach((place) => say([place], "", ""));
  say(until, end ? "raised" : "until", end ? `${end}` : "then waits here");
  return [...said].map(([number, lines]) => {
    const { name, file, lines: source } = data.functions[number];
    const marked = [...lines.keys()];
    const hasRun = (each) => ran.some(([other, line]) => other === number && line === each);
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
    const caption = make("figcaption", {}, make("b", {}, name), make("span", {}, `${file}:${until.find(([other]) => other === number)?.[1] ?? marked.at(-1)}`));
    return make("figure", { class: "source" }, caption, ...(shown.length ? [box] : []));
  });
}

/** Where all other tasks are, when a step has been taken. */
function others(story, moment) {
  const lines = story.lanes.flatMap((name, lane) => {
    if (lane === moment.lane) return [];
    const last = story.moments[story.steps[lane].findLast((place) => place <= moment.place)];
    const words = !last ? "has not run yet" : last.end ? `has ended: ${ending(last)}` : `waits for ${last.waitsFor || "something"}`;
    const lines = last && !last.end ? last.until.map((place) => make("span", { class: "line" }, make("code", {}, codeOf(place)), ` ${siteOf(place)}`)) : [];
    return [make("li", {}, make("span", { class: "who" }, name), make("span", {}, words, ...lines))];
  });
  return lines.length ? [make("h3", {}, "Meanwhile"), make("ul", { class: "others" }, ...lines)] : [];
}

// Choosing.

const stories = data.stories.map(prepare);
const pictures = new Map();
let shown = stories.at(-1);
let chosen = null;

function choose(moment) {
  const { list, svg, x, y } = pictures.get(shown);
  chosen?.row?.setAttribute("aria-selected", "false");
  chosen = moment;
  moment.row.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", moment.row.id);
  reveal(moment.row);
  const ring = svg.querySelector(".ring");
  ring.setAttribute("visibility", moment.lane === undefined ? "hidden" : "visible");
  ring.setAttribute("cx", x(moment.lane ?? 0));
  ring.setAttribute("cy", y(moment));
  const arrow = moment.lane === undefined ? null : arrowTo(moment, x, y);
  svg.querySelector(".chosen.line").setAttribute("d", arrow?.line ?? "");
  svg.querySelector(".chosen.heads").setAttribute("d", arrow?.head ?? "");
  document.querySelectorAll(".lanes span").forEach((head, lane) => head.classList.toggle("chosen", lane === moment.lane));
  detail(shown, moment);
  $("status").textContent = `Step ${moment.index + 1}: ${sentence(shown, moment)} ${moment.isOdd ? differs(moment) : ""}`;
}

/** Brings a row into view, and leaves the page where it is. */
function reveal(row) {
  const [view, at, head] = [$("scroll"), row.getBoundingClientRect(), row.closest(".drawing").previousElementSibling];
  const { top, bottom } = view.getBoundingClientRect();
  const above = top + head.offsetHeight + (row.dataset.note ? at.height : 0) - at.top;
  if (above > 0) view.scrollTop -= above;
  else if (at.bottom > bottom) view.scrollTop += at.bottom - bottom + 1;
}

/** Shows a story, and in it the step that was chosen in the other one. */
function show(story) {
  const other = chosen;
  const lane = other && other.lane !== undefined ? story.lanes.indexOf(shown.lanes[other.lane]) : -1;
  shown = story;
  chosen = null;
  if (!pictures.has(story)) pictures.set(story, picture(story));
  $("scroll").replaceChildren(pictures.get(story).all);
  for (const each of $("orders").children) each.setAttribute("aria-pressed", each.textContent === story.name);
  const same = other && story.moments.find((each) => each.isStep && each.lane === lane && each.nth === other.nth);
  choose(same ?? (other && partingOf(story)) ?? story.first);
}

const moves = {
  ArrowDown: () => shown.moments[chosen.place + 1],
  ArrowUp: () => shown.moments[chosen.place - 1],
  ArrowRight: () => shown.moments.find((each) => each.lane === chosen.lane && each.place > chosen.place),
  ArrowLeft: () => shown.moments.findLast((each) => each.lane === chosen.lane && each.place < chosen.place),
  Home: () => shown.moments[0],
  End: () => shown.moments.at(-1),
  d: () => {
    const different = shown.moments.filter((each) => each.isOdd || each.index === data.parting);
    return different.find((each) => each.place > chosen.place) ?? different[0];
  },
};

function move(key) {
  const moment = moves[key]();
  if (moment) choose(moment);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("#detail")) return;
  if (event.key in moves) move(event.key);
  else if (event.key === "o") show(stories.find((each) => each !== shown) ?? shown);
  else return;
  event.preventDefault();
});

/** What stands in a row, a statement a line, if it is cut. */
function whole(row) {
  const isCut = [...row.querySelectorAll(".codes, .then")].some((each) => each.scrollWidth > each.clientWidth);
  return isCut ? [...row.querySelectorAll(".task, code, .then")].map((each) => each.textContent.trim()).join("\n") : "";
}

const momentAt = (event) => {
  const element = event.target.closest?.("li[role=option]");
  return element && shown.moments.find((each) => each.row === element);
};
$("scroll").addEventListener("click", (event) => {
  const moment = momentAt(event);
  if (moment) choose(moment);
});
$("scroll").addEventListener("pointerover", (event) => {
  const moment = event.pointerType === "mouse" && momentAt(event);
  if (!moment) return;
  moment.row.title = whole(moment.row);
  detail(shown, moment);
});
$("scroll").addEventListener("pointerleave", (event) => {
  if (event.pointerType === "mouse") detail(shown, chosen);
});

// The rest of the page.

function differences() {
  if (stories.length === 1) return [make("p", {}, "It fails in asyncio's usual order.")];
  const failing = stories.at(-1);
  const items = failing.differences.map(({ sentence, code, path, index }) => {
    const moment = index === null ? undefined : failing.moments.find((each) => each.index === index);
    const where = moment && button(`step ${index + 1}`, () => {
      if (shown !== failing) show(failing);
      choose(moment);
    });
    const otherwise = index === null ? "(not before the end)" : `(step ${index + 1})`;
    return make("li", {}, `${sentence} `, ...(code ? [make("code", {}, code), " "] : []), ...(path ? [`(${path}) `] : []), where ?? otherwise);
  });
  return [make("p", {}, "It passes in asyncio's usual order, and fails when this is different:"), make("ul", {}, ...items)];
}

function theme(wanted) {
  document.documentElement.dataset.theme = wanted;
  $("theme").textContent = wanted === "dark" ? "Light" : "Dark";
}

$("theme").textContent = matchMedia("(prefers-color-scheme: dark)").matches ? "Light" : "Dark";
$("theme").addEventListener("click", () => theme($("theme").textContent.toLowerCase()));
$("previous").addEventListener("click", () => move("ArrowUp"));
$("next").addEventListener("click", () => move("ArrowDown"));
$("difference").addEventListener("click", () => move("d"));
$("orders").append(...stories.map((story) => button(story.name, () => show(story))));
$("differences").append(...differences());
$("work").hidden = false;
show(shown);
wide.addEventListener("change", () => { pictures.clear(); show(shown); });
performance.measure("draw", { start: began });
