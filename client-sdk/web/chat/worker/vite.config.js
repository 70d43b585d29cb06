// Builds the service worker beside the page: one file without imports, of a fixed name.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  publicDir: false,
  build: {
    outDir: process.env.KITH_ASSETS ?? here("../../../../node/assets"),
    emptyOutDir: false,
    target: "es2022",
    reportCompressedSize: false,
    lib: { entry: here("sw.ts"), formats: ["iife"], name: "kithWorker", fileName: () => "sw.js" },
  },
});
