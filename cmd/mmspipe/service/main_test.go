package service_test

import (
	"testing"

	"mmspipe/cmd/mmspipe/service/servicetest"
)

func TestMain(m *testing.M) { servicetest.Main(m) }
