// An ext_proc server with the router's duties towards Envoy (docs/data-plane.md) and next to none
// of its own: it picks a chain of targets by the length of a chat request's messages. Written as
// one writes such a server with go-control-plane: what the benchmark compares Python with.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"os"
	"strconv"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	logs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// Envoy tries a target through its guard, at an endpoint below its base path.
type target struct{ Target, Guard, Endpoint, Model string }

// The first route whose limit the messages keep decides; 0 is no limit.
type route struct {
	Name     string
	BytesMax int
	Chain    []target
}

type server struct {
	extproc.UnimplementedExternalProcessorServer
	routes []route
}

func (s *server) Process(stream extproc.ExternalProcessor_ProcessServer) error {
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil // Envoy has closed it, or cancelled it
		}
		response := &extproc.ProcessingResponse{}
		switch part := request.Request.(type) {
		case *extproc.ProcessingRequest_RequestHeaders:
			response.Response = &extproc.ProcessingResponse_RequestHeaders{}
		case *extproc.ProcessingRequest_RequestBody:
			if response, err = s.decide(part.RequestBody.Body); err != nil {
				return status.Error(codes.InvalidArgument, err.Error())
			}
		default:
			return status.Errorf(codes.Unimplemented, "%T", part)
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func (s *server) decide(body []byte) (*extproc.ProcessingResponse, error) {
	var payload map[string]json.RawMessage
	if err := json.Unmarshal(body, &payload); err != nil {
		return nil, err
	}
	var messages []struct{ Content json.RawMessage }
	if err := json.Unmarshal(payload["messages"], &messages); err != nil {
		return nil, err
	}
	length := 0
	for _, message := range messages {
		length += len(message.Content)
	}
	for _, route := range s.routes {
		if route.BytesMax == 0 || length <= route.BytesMax {
			return answer(route, payload)
		}
	}
	return nil, errors.New("no route")
}

func answer(route route, payload map[string]json.RawMessage) (*extproc.ProcessingResponse, error) {
	delete(payload, "model")
	rest, err := json.Marshal(payload)
	if err != nil {
		return nil, err
	}
	head := prefix(route.Chain[0])
	body := append([]byte(head), rest[1:]...)
	groups, candidates := []any{}, map[string]any{}
	for place, step := range route.Chain {
		cluster := map[string]any{"cluster_name": step.Guard, "weight": 1}
		groups = append(groups, map[string]any{"name": step.Target, "clusters": []any{cluster}})
		needs := map[string]any{"endpoint": step.Endpoint}
		if place > 0 {
			needs["prefix"] = prefix(step)
		}
		candidates[step.Target] = needs
	}
	plan := map[string]any{"route": route.Name, "plen": len(head), "cand": candidates}
	chain := map[string]any{"priority_groups": groups}
	metadata, err := structpb.NewStruct(map[string]any{"llm.chain": chain, "llm.plan": plan})
	common := &extproc.CommonResponse{
		ClearRouteCache: true,
		HeaderMutation: &extproc.HeaderMutation{SetHeaders: []*core.HeaderValueOption{
			header("content-length", strconv.Itoa(len(body))),
			header("content-type", "application/json"),
			header("x-envoy-max-retries", strconv.Itoa(len(route.Chain)-1)),
		}},
		BodyMutation: &extproc.BodyMutation{Mutation: &extproc.BodyMutation_Body{Body: body}},
	}
	return &extproc.ProcessingResponse{
		DynamicMetadata: metadata,
		Response: &extproc.ProcessingResponse_RequestBody{
			RequestBody: &extproc.BodyResponse{Response: common}},
	}, err
}

func prefix(step target) string { return `{"model":` + strconv.Quote(step.Model) + `,` }

func header(name, value string) *core.HeaderValueOption {
	return &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, RawValue: []byte(value)}}
}

// Envoy sends its access logs here too, as its configuration is the router's.
type sink struct {
	logs.UnimplementedLogsServiceServer
}

func (sink) Export(context.Context, *logs.ExportLogsServiceRequest) (*logs.ExportLogsServiceResponse, error) {
	return &logs.ExportLogsServiceResponse{}, nil
}

func main() {
	address, file := flag.String("listen", "", "host:port"), flag.String("routes", "", "JSON")
	flag.Parse()
	s, g := &server{}, grpc.NewServer(grpc.MaxRecvMsgSize(64<<20))
	read, err := os.ReadFile(*file)
	listener, listenErr := net.Listen("tcp", *address)
	if err := errors.Join(err, listenErr, json.Unmarshal(read, &s.routes)); err != nil {
		log.Fatal(err)
	}
	extproc.RegisterExternalProcessorServer(g, s)
	logs.RegisterLogsServiceServer(g, sink{})
	log.Fatal(g.Serve(listener))
}
