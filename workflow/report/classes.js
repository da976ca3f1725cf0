// The matrix of the chosen scheme, the clips of its chosen cell, and the tables that belong to it.

const data = JSON.parse(document.getElementById("data").textContent);
const scheme = document.getElementById("scheme");
const cells = document.getElementById("cells");
const confusion = document.getElementById("confusion");
const MANY = 20;
const MOST_PAIRS = 10;
const CLIPS_AT_ONCE = 8;
const PER_MILLE = 1000;
const names = Object.keys(data.schemes);
let chosen = null; // the cell whose clips are shown: [true class, predicted class]

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function parent(name, children, attributes = {}) {
  const made = element(name, "", attributes);
  made.append(...children);
  return made;
}

const row = (...children) => parent("tr", children);
const mine = () => data.schemes[scheme.value];
const sum = (counts) => counts.reduce((total, count) => total + count, 0);
const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(0)} %` : "–");
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
const plural = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const number = (text, value) => element("td", text, { class: "number", "data-value": value });

function drawConfusion() {
  const inPercent = cells.value === "percent";
  confusion.classList.toggle("many", data.classes.length > MANY);
  confusion.caption.textContent =
    `${scheme.value}: true class in rows, predicted class in columns, all folds and seeds added up`;
  const heading = row(element("td", "", { style: "background: none" }));
  for (const name of data.classes) {
    heading.append(parent("th", [element("span", name)], { scope: "col", title: name }));
  }
  confusion.tHead.replaceChildren(heading);
  const rows = mine().confusion.map((counts, i) => {
    const support = sum(counts);
    return row(
      element("th", data.classes[i], { scope: "row", title: data.classes[i] }),
      ...counts.map((count, j) => {
        const share = support ? count / support : 0;
        const kind = share > 0.5 ? "high" : count ? "some" : "zero";
        return element("td", !count ? "·" : inPercent ? (100 * share).toFixed(0) : count, {
          class: kind,
          style: `--share: ${share.toFixed(3)}`,
          title: `${data.classes[i]} taken for ${data.classes[j]}: ${count} of ${support}`,
          tabindex: -1,
        });
      }),
    );
  });
  confusion.tBodies[0].replaceChildren(...rows);
  markChosen();
}

const cellOf = ([i, j]) => confusion.tBodies[0].rows[i].cells[j + 1];
const placeOf = (cell) => [cell.parentElement.sectionRowIndex, cell.cellIndex - 1];

function markChosen() {
  for (const cell of confusion.querySelectorAll("[aria-selected]")) cell.removeAttribute("aria-selected");
  for (const cell of confusion.tBodies[0].querySelectorAll('[tabindex="0"]')) cell.tabIndex = -1;
  const cell = cellOf(chosen ?? [0, 0]);
  cell.tabIndex = 0; // one stop of the tab key; arrows go on from there
  if (chosen) cell.setAttribute("aria-selected", "true");
}

function choose(place) {
  chosen = place;
  markChosen();
  drawClips(CLIPS_AT_ONCE);
}

function move(event) {
  const cell = event.target.closest("tbody td");
  if (!cell) return;
  const [i, j] = placeOf(cell);
  const last = data.classes.length - 1;
  const places = {
    ArrowUp: [Math.max(i - 1, 0), j], ArrowDown: [Math.min(i + 1, last), j],
    ArrowLeft: [i, Math.max(j - 1, 0)], ArrowRight: [i, Math.min(j + 1, last)],
    Home: [i, 0], End: [i, last],
  };
  if (event.key === "Enter" || event.key === " ") choose([i, j]);
  else if (!(event.key in places)) return;
  else {
    const next = cellOf(places[event.key]);
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
  event.preventDefault();
}

function confusedPairs() {
  const supports = mine().confusion.map(sum);
  const pairs = mine().confusion.flatMap((counts, i) =>
    counts.map((count, j) => ({ i, j, count, support: supports[i] })).filter(({ j, count }) => count && i !== j),
  );
  return pairs.sort((a, b) => b.count - a.count || a.support - b.support);
}

function drawConfused() {
  const pairs = confusedPairs();
  const items = pairs.slice(0, MOST_PAIRS).map(({ i, j, count, support }) => {
    const button = parent("button", [
      element("strong", data.classes[i]), " taken for ", element("strong", data.classes[j]),
    ], { type: "button" });
    button.addEventListener("click", () => {
      choose([i, j]);
      document.getElementById("clips-heading").focus();
    });
    return parent("li", [button, element("span", `${count} of ${support} (${percent(count, support)})`, { class: "note" })]);
  });
  if (!items.length) items.push(element("li", "Nothing: every answer is right."));
  document.getElementById("confused").replaceChildren(...items);
  const [first] = pairs;
  choose(first ? [first.i, first.j] : [0, 0]);
}

// Probability that a scheme gives to a class; undefined where it is too small to be kept.
const given = (answer, c) => answer.probabilities.find(([other]) => other === c)?.[1];
const decimals = (thousandths) => (thousandths === undefined ? "–" : (thousandths / PER_MILLE).toFixed(2));
const votesFor = (answer, c) => answer.votes.find(([other]) => other === c)?.[1] ?? 0;

function probabilities(clip, i, j) {
  const classes = i === j ? [i] : [i, j];
  const head = row(element("th", "Scheme", { scope: "col" }));
  classes.forEach((c, n) => head.append(
    parent("th", [data.classes[c], element("span", n ? "named" : i === j ? "true and named" : "true", { class: "note" })],
      { scope: "col" }),
  ));
  head.append(element("th", "Most probable", { scope: "col" }));
  const rows = [scheme.value, ...mine().members].map((name) => {
    const answer = clip.answers[names.indexOf(name)];
    const [[top, most]] = answer.probabilities;
    const bar = (value) => element("td", decimals(value), { class: "bar", style: `--share: ${(value ?? 0) / PER_MILLE}` });
    const best = parent("td", [`${data.classes[top]} ${decimals(most)}`]);
    return row(element("th", name, { scope: "row" }), ...classes.map((c) => bar(given(answer, c))), best);
  });
  const caption = element("caption", `What schemes give to ${clip.item}, the mean over folds and seeds`);
  return parent("table", [caption, parent("thead", [head]), parent("tbody", rows)], { class: "given" });
}

function shownClip({ clip, votes }, i, j) {
  const about = [clip.video || clip.audio];
  if (clip.start !== null || clip.end !== null) about.push(`${clip.start ?? "start"} to ${clip.end ?? "end"} s`);
  const runs = sum(clip.answers[names.indexOf(scheme.value)].votes.map(([, n]) => n));
  about.push(`named by ${votes} of ${plural(runs, "run")}`);
  const parts = [parent("h4", [clip.item, element("span", about.join(" · "), { class: "note" })])];
  if (clip.frames) parts.push(element("img", "", { src: clip.frames, alt: `Frames of ${clip.item}, evenly spaced` }));
  if (clip.sound) parts.push(element("img", "", { src: clip.sound, alt: `Spectrogram of ${clip.item}` }));
  if (clip.why) parts.push(element("p", clip.why, { class: "hint" }));
  parts.push(probabilities(clip, i, j));
  return parent("article", parts);
}

function drawClips(most) {
  const [i, j] = chosen;
  const at = names.indexOf(scheme.value);
  const count = mine().confusion[i][j];
  const found = data.clips
    .filter((clip) => clip.label === i)
    .map((clip) => ({ clip, votes: votesFor(clip.answers[at], j) }))
    .filter(({ votes }) => votes)
    .sort((a, b) => (given(b.clip.answers[at], j) ?? 0) - (given(a.clip.answers[at], j) ?? 0));
  const what = i === j ? `${data.classes[i]}, found` : `${data.classes[i]} taken for ${data.classes[j]}`;
  document.getElementById("clips-heading").textContent =
    `${what}: ${plural(count, "answer")} of ${sum(mine().confusion[i])} by ${scheme.value}`;
  const votes = sum(found.map((each) => each.votes));
  const hint = !count ? "There is no such answer."
    : !found.length ? "None of its clips is among those that the page has room for."
    : votes < count ? `The page has room for ${plural(found.length, "clip")} with ${votes} of these answers; the surest come first.`
    : `${plural(found.length, "clip")}, all of them, the surest first.`;
  document.getElementById("clips-hint").textContent =
    found.length ? `${hint} Frames are evenly spaced; below them is the sound, low at the bottom, over the same time.` : hint;
  const shown = found.slice(0, most).map((each) => shownClip(each, i, j));
  if (found.length > most) {
    const more = element("button", `Show ${found.length - most} more`, { type: "button", class: "more" });
    more.addEventListener("click", () => drawClips(Infinity));
    shown.push(more);
  }
  document.getElementById("clips-shown").replaceChildren(...shown);
}

function drawClasses() {
  const table = document.getElementById("per-class");
  table.caption.textContent = `${scheme.value}: how well each class is found, all folds and seeds added up`;
  const fuses = Object.keys(mine().gains).length > 0;
  table.classList.toggle("alone", !fuses);
  const rows = mine().scores.map(([precision, recall, f1, support], i) => {
    const name = data.classes[i];
    const line = row(
      element("th", name, { scope: "row", "data-value": name }),
      ...[precision, recall, f1].map((value) => number(value.toFixed(3), value)),
      number(support, support),
    );
    const [best, single, gain] = mine().gains[name] ?? ["–", NaN, NaN];
    line.append(element("td", best, { "data-value": best }));
    line.append(number(fuses ? single.toFixed(3) : "–", single), number(fuses ? signed(gain) : "–", gain));
    return line;
  });
  table.tBodies[0].replaceChildren(...rows);
  sortAgain(table);
  filter(document.querySelector('[data-filters="per-class"]'));
  drawExtremes();
}

function drawExtremes() {
  const order = mine().scores
    .map(([, , f1, support], i) => ({ i, f1, support }))
    .filter(({ support }) => support)
    .sort((a, b) => b.f1 - a.f1);
  const few = Math.min(3, Math.floor(order.length / 2));
  const list = (these) => these.map(({ i, f1 }) => `${data.classes[i]} (${f1.toFixed(3)})`).join(", ");
  const same = !few || order[0].f1 === order.at(-1).f1;
  document.getElementById("extremes").textContent = same
    ? `Every class that occurs has an F1 of ${order[0].f1.toFixed(3)}.`
    : `By F1, ${scheme.value} is best at ${list(order.slice(0, few))} and worst at ${list(order.slice(-few).reverse())}.`;
}

function drawAgreement() {
  const { agreement, gains } = mine();
  document.getElementById("modalities").hidden = !agreement.length && !Object.keys(gains).length;
  const ordered = Object.entries(gains).sort(([, a], [, b]) => b[2] - a[2]);
  const told = ([name, [best, , gain]]) => `${name} (${signed(gain)} over ${best})`;
  const better = ordered.filter(([, [, , gain]]) => gain > 0);
  const worse = ordered.filter(([, [, , gain]]) => gain < 0).reverse();
  document.getElementById("worth").textContent = !ordered.length ? "" :
    `Against the modality that is best in each class, ${scheme.value} has a higher F1 in ${better.length} of ` +
    `${ordered.length} classes` + (better.length ? `, most of all ${better.slice(0, 3).map(told).join(", ")}` : "") +
    (worse.length ? `; and a lower one in ${worse.length}, most of all ${worse.slice(0, 3).map(told).join(", ")}.` : ".");
  const table = document.getElementById("agreement");
  const total = sum(agreement.map(([, items]) => items));
  table.caption.textContent =
    `Items by the modalities that get them right by themselves, and how many of these ${scheme.value} gets right; ` +
    "seeds vote by their mean probability";
  const rows = agreement.filter(([, items]) => items).map(([right, items, kept]) => {
    const name = !right ? "none" : right.includes(" + ") ? right : `only ${right}`;
    return row(
      element("th", name, { scope: "row", "data-value": name }),
      number(items, items), number(percent(items, total), items / total),
      number(kept, kept), number(percent(kept, items), kept / items),
    );
  });
  table.tBodies[0].replaceChildren(...rows);
  sortAgain(table);
}

function drawScheme() {
  chosen = null;
  drawConfusion();
  drawConfused();
  drawClasses();
  drawAgreement();
}

confusion.addEventListener("keydown", move);
confusion.tBodies[0].addEventListener("click", (event) => {
  const cell = event.target.closest("td");
  if (!cell) return;
  choose(placeOf(cell));
  cell.focus();
});
scheme.addEventListener("change", drawScheme);
cells.addEventListener("change", drawConfusion);
drawScheme();
