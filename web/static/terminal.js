// One line of a log as a terminal would show it; web/terminal.py is its twin. Text only ever enters through textContent.
const TOKEN = /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[^[\]]?|([\r\b])|([^\x1b\r\b]+)/g;
const SPECIAL = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/;
const HIDDEN = /[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/g;
const MOST_COLUMNS = 1 << 14;
const FLAGS = { 1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "strike" };
const OFF = { 21: ["bold"], 22: ["bold", "faint"], 23: ["italic"], 24: ["underline"], 27: ["inverse"], 29: ["strike"] };

// How text is written from here on: class names, or a colour as #rrggbb.
export const PLAIN = Object.freeze({ colour: "", ground: "", flags: [] });

const hex = (...parts) => `#${parts.map((part) => Math.min(part, 255).toString(16).padStart(2, "0")).join("")}`;

// xterm's palette: 16 colours, a cube of 6 × 6 × 6, then 24 greys.
function of256(number) {
  if (number < 16) return String(number < 8 ? 30 + number : 82 + number);
  if (number >= 232) {
    const grey = 8 + 10 * (Math.min(number, 255) - 232);
    return hex(grey, grey, grey);
  }
  const step = (part) => (part ? 55 + 40 * part : 0);
  const at = number - 16;
  return hex(step(Math.floor(at / 36)), step(Math.floor(at / 6) % 6), step(at % 6));
}

function changed(pen, codes) {
  const numbers = codes.slice(0, 100).replaceAll(":", ";").split(";").map((code) => Number(code) || 0);
  for (let i = 0; i < numbers.length; i += 1) {
    const code = numbers[i];
    if (code === 0) pen = PLAIN;
    else if (FLAGS[code]) pen = { ...pen, flags: [...new Set([...pen.flags, FLAGS[code]])].sort() };
    else if (OFF[code]) pen = { ...pen, flags: pen.flags.filter((flag) => !OFF[code].includes(flag)) };
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) pen = { ...pen, colour: String(code) };
    else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) pen = { ...pen, ground: String(code - 10) };
    else if (code === 39) pen = { ...pen, colour: "" };
    else if (code === 49) pen = { ...pen, ground: "" };
    else if (code === 38 || code === 48) {
      let value = "";
      if (numbers[i + 1] === 5) {
        value = of256(numbers[i + 2] || 0);
        i += 2;
      } else {
        if (numbers[i + 1] === 2) value = hex(...[2, 3, 4].map((at) => numbers[i + at] || 0));
        i += numbers[i + 1] === 2 ? 4 : 1;
      }
      pen = { ...pen, [code === 38 ? "colour" : "ground"]: value };
    }
  }
  return pen;
}

// The pen after a line; all that a line does to those below it.
export function penAfter(line, pen) {
  if (!line.includes("\x1b")) return pen;
  for (const match of line.matchAll(TOKEN)) {
    if (match[2] === "m") pen = changed(pen, match[1]);
  }
  return pen;
}

class Row {
  cells = [];
  at = 0;
  write(text, pen) {
    while (this.cells.length < this.at) this.cells.push({ pen: PLAIN, text: " " });
    for (const character of text) {
      if (this.at >= MOST_COLUMNS) return;
      this.cells[this.at] = { pen, text: character };
      this.at += 1;
    }
  }
  control(parameters, final) {
    const number = /^\d{1,5}$/.test(parameters) ? Number(parameters) : 0;
    if (final === "C") this.at = Math.min(this.at + Math.max(number, 1), MOST_COLUMNS);
    else if (final === "D") this.at = Math.max(this.at - Math.max(number, 1), 0);
    else if (final === "G") this.at = Math.min(Math.max(number, 1), MOST_COLUMNS) - 1;
    else if (final === "K" && number === 0) this.cells.length = Math.min(this.cells.length, this.at);
    else if (final === "K" && number === 1) this.cells.fill({ pen: PLAIN, text: " " }, 0, this.at + 1);
    else if (final === "K") this.cells.length = 0;
  }
  spans() {
    const spans = [];
    for (const { pen, text } of this.cells) {
      const last = spans[spans.length - 1];
      if (last && last.pen === pen) last.text += text;
      else spans.push({ pen, text });
    }
    return spans;
  }
}

// What is to be seen of a line, as [{pen, text}].
export function render(line, pen) {
  if (!SPECIAL.test(line)) return line ? [{ pen, text: line }] : [];
  const row = new Row();
  for (const match of line.replace(/\r$/, "").matchAll(TOKEN)) {
    if (match[2] === "m") pen = changed(pen, match[1]);
    else if (match[2]) row.control(match[1], match[2]);
    else if (match[3]) row.at = match[3] === "\r" ? 0 : Math.max(row.at - 1, 0);
    else if (match[4]) row.write(match[4].replace(HIDDEN, "\ufffd"), pen);
  }
  return row.spans();
}

// A pen as an element's look. Colours by number are set through the CSSOM, which a strict policy allows.
export function paint(element, pen) {
  const names = [...pen.flags];
  if (pen.colour.startsWith("#")) element.style.color = pen.colour;
  else if (pen.colour) names.push(`c${pen.colour}`);
  if (pen.ground.startsWith("#")) element.style.backgroundColor = pen.ground;
  else if (pen.ground) names.push(`b${pen.ground}`);
  if (names.length) element.className = names.join(" ");
}
