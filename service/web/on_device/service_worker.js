// Keeps the site in the browser, so that it opens without a network. The export writes the line before
// this one: const BUILD = "...", FILES = [...];
const PREFIX = `earful ${self.registration.scope} `;
const CACHE = PREFIX + BUILD;

// All files of one build or none: a page never gets files of two.
self.addEventListener("install", (event) => event.waitUntil(keep()));

async function keep() {
  const cache = await caches.open(CACHE);
  await cache.addAll(FILES.map((name) => new Request(name, { cache: "no-cache" })));
}

self.addEventListener("activate", (event) => event.waitUntil(forgetOthers()));

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith(PREFIX) && name !== CACHE).map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
  if (event.request.method === "GET" && event.request.url.startsWith(self.registration.scope)) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE), address = request.url.replace(/[?#].*$/, "");
  const isPage = address === new URL("index.html", self.registration.scope).href;
  return (await cache.match(isPage ? "./" : address)) ?? fetch(request);
}
