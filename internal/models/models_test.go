package models

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//nolint:paralleltest // it sets the environment and a flag of the whole process
func TestRapidChecksAsOftenAsItIsTold(t *testing.T) {
	t.Setenv("MODEL_CHECKS", "7")
	Checks()
	defer func() { _ = flag.Set("rapid.checks", "100") }()
	n := 0
	rapid.Check(t, func(*rapid.T) { n++ })
	if n < 7 || n > 8 {
		t.Errorf("%d checks", n)
	}
}
