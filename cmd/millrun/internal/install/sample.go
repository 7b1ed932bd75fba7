package install

import (
	"fmt"
	"os"

	"github.com/millrun/millrun/internal/config"
)

// SampleSteps is the step that an installation on embedded parts begins with, so that hosting of own code can be seen
// at work: this binary, started again as a process of its own.
func SampleSteps() ([]config.Processor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	return []config.Processor{{Name: SampleStep, Version: "1", Command: []string{self, "step", SampleStep}}}, nil
}

// SampleStep is the name of the step of SampleSteps.
const SampleStep = "grayscale"
