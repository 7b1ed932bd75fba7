// Step-grayscale is a sample step: it makes a grayscale PNG of each image. Name it in the configuration:
//
//	processors:
//	  - {name: grayscale, version: "1", command: [bin/step-grayscale]}
package main

import (
	"fmt"
	"os"

	"github.com/millrun/millrun/examples/step-grayscale/grayscale"
	"github.com/millrun/millrun/processors/host/step"
)

func main() {
	if err := step.Serve(grayscale.Step); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
