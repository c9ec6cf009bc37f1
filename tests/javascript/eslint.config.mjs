// The rules for the pages' JavaScript: classic scripts that are put together into one, so they share their names.
import js from "@eslint/js";
import globals from "globals";

export default [
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2023, sourceType: "script", globals: globals.browser },
    rules: {
      "eqeqeq": ["error", "always", { null: "ignore" }],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-undef": "off", // tsc sees the names of all scripts together
      "no-unused-vars": ["error", { vars: "local", args: "after-used", caughtErrors: "none" }],
    },
  },
  { files: ["**/*.mjs"], languageOptions: { sourceType: "module" } },
];
