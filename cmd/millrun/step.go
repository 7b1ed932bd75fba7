package main

import (
	"github.com/millrun/millrun/examples/step-grayscale/grayscale"
	"github.com/millrun/millrun/processors/host/step"
)

// stepCommand is the sample step of the demo: the worker starts it as it starts any program of the company's.
type stepCommand struct {
	Name string `arg:"" enum:"grayscale" help:"Which sample: ${enum}."`
}

// Run answers the worker on standard input and output until the input ends.
func (stepCommand) Run() error { return step.Serve(grayscale.Step) }
