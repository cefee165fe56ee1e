package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"vmgateway/internal/backends"
)

// The types of events.
const (
	VMCreated        = "vm.created"        // data: backend, vm (BASIC)
	VMChanged        = "vm.changed"        // data: backend, vm (BASIC), changed (see [Event])
	VMDeleted        = "vm.deleted"        // data: backend, id
	OperationChanged = "operation.changed" // data: whatever was handed to [Feed.Publish]
	BackendDown      = "backend.down"      // data: backend, code, detail
	BackendUp        = "backend.up"        // data: backend
)

// Types lists what Event.Type can be.
func Types() []string {
	return []string{VMCreated, VMChanged, VMDeleted, OperationChanged, BackendDown, BackendUp}
}

// Event is one thing that happened. All listeners share its Data: nobody may write to it.
//
// vm.changed names the members of the VM that differ: "state", "host", or with the member that
// holds them, "memory.dynamicMaxBytes". Samples are no change, as in [backends.ETag].
type Event struct {
	Seq     uint64 // counts up by one within a feed
	Type    string
	Time    time.Time       // when the gateway learned of it
	VM      backends.ID     // which VM it is about; zero when it is about none
	Backend string          // its configured name
	Data    json.RawMessage // one JSON object on one line
}

// Position is a point between two events of one feed. The zero Position is of no feed.
type Position struct {
	Epoch string // which feed: one that begins anew has another
	Seq   uint64 // the last event before the point
}

// String is the position as text, {epoch}-{seq}: letters, digits and one hyphen.
func (p Position) String() string { return p.Epoch + "-" + strconv.FormatUint(p.Seq, 10) }

var errPosition = errors.New("not a position in a feed")

// ParsePosition reads what String wrote. Whether a feed knows the position is told by [Feed.After].
func ParsePosition(text string) (Position, error) {
	epoch, digits, ok := strings.Cut(text, "-")
	seq, err := strconv.ParseUint(digits, 10, 64)
	p := Position{Epoch: epoch, Seq: seq}
	if !ok || epoch == "" || err != nil || p.String() != text {
		return Position{}, errPosition
	}
	return p, nil
}

type deletedData struct {
	Backend string      `json:"backend"`
	ID      backends.ID `json:"id"`
}

type healthData struct {
	Backend string `json:"backend"`
	Code    string `json:"code,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// newVMEvent is vm.created, or with changed vm.changed.
func newVMEvent(kind string, vm *backends.VM, changed []string) Event {
	text, _ := eventTexts.Get().(*[]byte)
	defer eventTexts.Put(text)
	b := (*text)[:0]
	b = append(append(b, `{"backend":"`...), vm.ID.Backend...) // a name, as those of members, needs no escaping
	b = vm.AppendJSON(append(b, `","vm":`...))
	if len(changed) > 0 {
		b = append(b, `,"changed":["`...)
		b = append(b, strings.Join(changed, `","`)...)
		b = append(b, `"]`...)
	}
	b = append(b, '}')
	*text = b
	return Event{Type: kind, VM: vm.ID, Data: bytes.Clone(b)} // of just its size: it is kept
}

// eventTexts are buffers in which events are written.
var eventTexts = sync.Pool{New: func() any { return new([]byte) }}

func newDeletedEvent(id backends.ID) Event {
	return Event{Type: VMDeleted, VM: id, Data: encode(deletedData{id.Backend, id})}
}

func newDownEvent(backend string, e *backends.Error) Event {
	return Event{Type: BackendDown, Data: encode(healthData{backend, e.Code.String(), e.Detail})}
}

func newUpEvent(backend string) Event {
	return Event{Type: BackendUp, Data: encode(healthData{Backend: backend})}
}

// encode is for values of strings only, which JSON can always hold.
func encode(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return data
}
