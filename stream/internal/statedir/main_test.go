package statedir_test

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/stream/internal/statedir"
)

// holdEnv makes the test binary a process that holds the state directory it names until its standard input ends.
const holdEnv = "MILLRUN_TEST_HOLD"

func TestMain(m *testing.M) {
	if root := os.Getenv(holdEnv); root != "" {
		if _, err := statedir.Open(root, "app", slog.New(slog.DiscardHandler)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
