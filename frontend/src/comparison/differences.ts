/** Which characters of an answer are not those of the label. */

export interface Part {
  text: string;
  differs: boolean;
}

/** Above this many cells of its table the middle of two long texts is marked whole instead of letter by letter. */
const MOST_CELLS = 1_000_000;

/** Split `answer` into parts that `label` holds in the same order, and parts that it does not. */
export function findDifferences(answer: string, label: string): Part[] {
  const [a, b] = [Array.from(answer), Array.from(label)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const middle = a.slice(start, a.length - end);
  const kept = findCommon(middle, b.slice(start, b.length - end));
  const flags = [
    ...a.slice(0, start).map(() => false),
    ...kept.map((same) => !same),
    ...a.slice(a.length - end).map(() => false),
  ];
  return joinParts(a, flags);
}

/** For each character of `a`, whether it is part of the longest common subsequence with `b`. */
function findCommon(a: string[], b: string[]): boolean[] {
  const kept = a.map(() => false);
  if (!a.length || !b.length || a.length * b.length > MOST_CELLS) return kept;
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * width + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) {
      kept[i] = true;
      i++;
      j++;
    } else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i++;
    else j++;
  }
  return kept;
}

function joinParts(characters: string[], flags: boolean[]): Part[] {
  const parts: Part[] = [];
  characters.forEach((character, index) => {
    const differs = flags[index] ?? false;
    const last = parts.at(-1);
    if (last && last.differs === differs) last.text += character;
    else parts.push({ text: character, differs });
  });
  return parts;
}
