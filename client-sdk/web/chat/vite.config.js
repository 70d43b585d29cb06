// Builds the page into node/assets, which is checked in and compiled into the node. Names are fixed: the node serves them with a tag of their content.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "/",
  resolve: { alias: { "@kith/client": here("../sdk/src/index.ts") } },
  server: { proxy: { "/kith": { target: "http://127.0.0.1:7681", ws: true } } },
  build: {
    outDir: process.env.KITH_ASSETS ?? here("../../../node/assets"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    reportCompressedSize: false,
    rollupOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "app[extname]" },
    },
  },
});
