import js from "@eslint/js";
import globals from "globals";

/** For the page's modules and their tests. Prettier checks the format, and tsc checks the types. */
export default [
  js.configs.recommended,
  {
    basePath: "../..",
    files: ["web/**/*.js", "tests/web/**/*.mjs"],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: globals.browser },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: ["error", "always", { null: "ignore" }],
      "no-var": "error",
      "prefer-const": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", caughtErrors: "none" }],
      "no-implicit-globals": "error",
      "no-eval": "error",
      "no-new-func": "error",
      "no-throw-literal": "error",
      "object-shorthand": "error",
    },
  },
  { basePath: "../..", files: ["tests/web/**/*.mjs"], languageOptions: { globals: globals.node } },
];
