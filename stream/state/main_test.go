package state_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/millrun/millrun/internal/models"
)

func TestMain(m *testing.M) {
	models.Checks()
	goleak.VerifyTestMain(m)
}
