/** How many devices lie on how many machines: the same rule by which the server's scheduler splits a job. */

export interface Gang {
  nodes: number;
  perNode: number;
}

/** The fewest equal shares of `count` devices on machines that have `sizes` of them; null where that cannot be. */
export function splitGang(count: number, sizes: readonly number[]): Gang | null {
  const largest = Math.max(0, ...sizes);
  if (largest === 0) return null;
  let nodes = Math.ceil(count / largest);
  while (count % nodes) nodes += 1;
  const perNode = count / nodes;
  return sizes.filter((size) => size >= perNode).length >= nodes ? { nodes, perNode } : null;
}
