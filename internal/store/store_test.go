package store_test

import (
	"testing"
	"time"

	"vmgateway/internal/store"
	"vmgateway/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, now func() time.Time) func() store.Store {
		m := store.NewMemory(now)
		return func() store.Store { return m }
	})
}
