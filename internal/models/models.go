// Package models says how often tests that compare with a model try: 1,000 random runs each, or MODEL_CHECKS.
package models

import (
	"flag"
	"os"
)

// Checks tells rapid. It is called by TestMain, before the flags are parsed: -rapid.checks has the last word.
func Checks() {
	n := os.Getenv("MODEL_CHECKS")
	if n == "" {
		n = "1000"
	}
	if err := flag.Set("rapid.checks", n); err != nil {
		panic("models: MODEL_CHECKS: " + err.Error())
	}
}
