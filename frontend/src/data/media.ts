// Pictures, films and sounds of a row, each as the browser shows it.
import { element } from "../dom";
import { t } from "../language";

interface Media {
  index: number;
  images: string[];
  videos?: string[];
  audios?: string[];
}

export function buildMedia(row: Media): HTMLElement | null {
  const pieces = [
    ...(row.images ?? []).map((url) => buildPicture(url, row.index)),
    ...(row.videos ?? []).map((url) => element("video", { src: url, controls: true, preload: "metadata" })),
    ...(row.audios ?? []).map((url) => element("audio", { src: url, controls: true, preload: "metadata" })),
  ];
  return pieces.length ? element("div", { class: "pictures" }, ...pieces) : null;
}

/** One that cannot be shown says so by name instead of a torn symbol. */
function buildPicture(url: string, index: number): HTMLElement {
  const picture = element("img", { src: url, loading: "lazy", alt: t(`第 ${index + 1} 条的图片`, `Picture of row ${index + 1}`) });
  const link = element("a", { href: url, target: "_blank", rel: "noopener" }, picture);
  picture.addEventListener("error", () => {
    const name = decodeURIComponent(url.split("/").at(-1) ?? url);
    link.replaceWith(element("span", { class: "lost-picture" }, t(`无法显示图片 ${name}`, `The picture ${name} cannot be shown`)));
  });
  return link;
}
