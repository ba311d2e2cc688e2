"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const rows = [...document.querySelectorAll("#table tbody tr")];
  const cards = new Map([...document.querySelectorAll("#sheet > li")].map((c) => [c.dataset.image, c]));
  const heads = [...document.querySelectorAll("#table th[data-key]")];
  const sheet = byId("sheet"), body = document.body, dialog = byId("large");
  const state = { key: "suspicion", order: "descending", show: "", find: "" };
  let order = []; // the images that are shown, by number
  let open = null; // the one that is enlarged

  // Sorting and filtering: the pictures and the table always agree.
  const values = (row, column) => row.cells[column].dataset.value;
  const names = new Intl.Collator("en", { numeric: true });

  function compare(a, b, column, isText, sign) {
    const [x, y] = [values(a, column), values(b, column)];
    if (isText) return sign * names.compare(x, y);
    if (x === "" || y === "") return (x === "") - (y === ""); // what isn't known is last
    return sign * (x - y);
  }

  function arrange() {
    const column = heads.findIndex((head) => head.dataset.key === state.key);
    const sign = state.order === "ascending" ? 1 : -1;
    const isText = state.key === "name";
    rows.sort((a, b) => compare(a, b, column, isText, sign) || a.dataset.image - b.dataset.image);
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    order = [];
    for (const row of rows) {
      const card = cards.get(row.dataset.image);
      const text = row.textContent.toLowerCase();
      const kinds = row.dataset.kinds.split(" ");
      const is = (!state.show || kinds.includes(state.show)) && words.every((w) => text.includes(w));
      row.hidden = !is;
      row.parentNode.append(row);
      if (card) {
        card.hidden = !is;
        sheet.append(card);
      }
      if (is) order.push(row.dataset.image);
    }
    for (const head of heads) {
      if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.order);
      else head.removeAttribute("aria-sort");
    }
    byId("shown").textContent = `${order.length} of ${rows.length} images`;
    const wanted = `${state.key} ${state.order}`;
    const known = [...byId("sort").options].some((option) => option.value === wanted);
    byId("sort").value = known ? wanted : "other";
    byId("show").value = state.show;
    for (const button of document.querySelectorAll("[data-show]"))
      button.setAttribute("aria-pressed", state.show !== "" && button.dataset.show === state.show);
  }

  function view(name) {
    body.classList.toggle("as-sheet", name === "sheet");
    body.classList.toggle("as-table", name === "table");
    for (const button of document.querySelectorAll("[data-view]"))
      button.setAttribute("aria-pressed", button.dataset.view === name);
  }

  function outlines(on) {
    body.classList.toggle("plain", !on);
    byId("outlines").checked = byId("large-outlines").checked = on;
  }

  // The enlarged image.
  const lowest = parseFloat(body.dataset.lowest);
  const bound = (n) => lowest + (n * (1 - lowest)) / 5;
  const level = (score) => Math.min(4, Math.max(0, Math.floor((5 * (score - lowest)) / (1 - lowest + 1e-9))));

  function enlarge(number) {
    const card = cards.get(number);
    const drawing = card && card.querySelector("svg");
    if (!drawing) return;
    open = number;
    const large = drawing.cloneNode(true);
    const line = large.querySelector(".lines");
    let hasScores = false;
    if (line) {
      const paths = line.getAttribute("d").split(/(?=M)/);
      const labels = line.dataset.labels.split(" "), scores = line.dataset.scores.split(" ");
      const cells = document.createElementNS("http://www.w3.org/2000/svg", "g");
      cells.setAttribute("class", "cells");
      paths.forEach((d, n) => {
        const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
        path.setAttribute("d", d);
        path.dataset.cell = `Cell ${labels[n]}`;
        if (scores[n]) {
          hasScores = true;
          path.setAttribute("class", `s${level(scores[n] / 100)}`);
          path.dataset.cell += `, score ${(scores[n] / 100).toFixed(2)}`;
        }
        cells.append(path);
      });
      line.removeAttribute("id");
      line.setAttribute("class", "halo");
      large.querySelector("use").remove();
      large.append(cells);
    }
    dialog.querySelector(".stage").replaceChildren(large);
    byId("large-name").textContent = card.querySelector("h3").textContent;
    byId("facts").replaceChildren(...[...card.querySelector(".about").childNodes].map((n) => n.cloneNode(true)));
    const count = large.querySelectorAll(".cells path").length;
    const total = parseInt(card.dataset.cells, 10);
    byId("cell").textContent = count < total
      ? `${count} of ${total} cells are outlined here; the others are too small or too many.` : "";
    byId("by-score").disabled = !hasScores;
    const place = order.indexOf(number);
    byId("before").disabled = !next(place, -1);
    byId("after").disabled = !next(place, 1);
    if (!dialog.open) dialog.showModal();
  }

  function next(place, step) {
    for (let n = place + step; n >= 0 && n < order.length; n += step) {
      const card = cards.get(order[n]);
      if (card && card.querySelector("svg")) return order[n];
    }
    return null;
  }

  function move(step) {
    const number = next(order.indexOf(open), step);
    if (number) enlarge(number);
  }

  function byScore(on) {
    byId("by-score").checked = on;
    dialog.classList.toggle("by-score", on);
  }

  for (let n = 4; n >= 0 && !isNaN(lowest); n--) {
    const item = document.createElement("li");
    item.className = `s${n}`;
    item.append(document.createElement("i"), `${bound(n).toFixed(2)} to ${bound(n + 1).toFixed(2)}`);
    byId("legend").append(item);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || button.closest("dialog")) return;
    const holder = button.closest("[data-image]");
    const head = button.closest("th[data-key]");
    if (button.dataset.view) view(button.dataset.view);
    else if (button.dataset.show) {
      state.show = state.show === button.dataset.show ? "" : button.dataset.show;
      if (state.show === "failed") view("table");
      arrange();
      byId("images").scrollIntoView();
    } else if (head) {
      const same = state.key === head.dataset.key;
      const first = ["name", "score"].includes(head.dataset.key) ? "ascending" : "descending";
      state.order = same ? (state.order === "ascending" ? "descending" : "ascending") : first;
      state.key = head.dataset.key;
      arrange();
    } else if (holder) enlarge(holder.dataset.image);
  });
  byId("find").addEventListener("input", (event) => { state.find = event.target.value; arrange(); });
  byId("show").addEventListener("change", (event) => { state.show = event.target.value; arrange(); });
  byId("sort").addEventListener("change", (event) => {
    [state.key, state.order] = event.target.value.split(" ");
    arrange();
  });
  byId("outlines").addEventListener("change", (event) => outlines(event.target.checked));
  byId("large-outlines").addEventListener("change", (event) => outlines(event.target.checked));
  byId("by-score").addEventListener("change", (event) => byScore(event.target.checked));
  byId("before").addEventListener("click", () => move(-1));
  byId("after").addEventListener("click", () => move(1));
  byId("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("mouseover", (event) => {
    const text = event.target.dataset && event.target.dataset.cell;
    if (text) byId("cell").textContent = text;
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
    else if (event.key === "o") outlines(body.classList.contains("plain"));
    else if (event.key === "s" && !byId("by-score").disabled) byScore(!byId("by-score").checked);
  });
  for (const button of document.querySelectorAll(".counts button"))
    button.classList.toggle("some", button.querySelector("strong").textContent !== "0");
  document.documentElement.classList.add("js");
  body.classList.add("js");
  view("sheet");
  arrange();
})();
