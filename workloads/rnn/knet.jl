# GRU on IMDB in Knet, from Julia.
using Knet: @diff, Adam, CUDA, Knet, RNN, grad, nll, param, param0, update!, value
using PyCall
using Random

harness = pyimport("harness")

gpu = CUDA.functional()
cell = harness.Cell(
    string(pkgversion(Knet)),
    gpu ? string(CUDA.version()) : nothing,
    gpu ? string(CUDA.CUDNN.version()) : nothing,
    Dict("julia" => string(VERSION), "PyCall" => string(pkgversion(PyCall))),
)
params = cell.params
Random.seed!(cell.seed)
gpu && CUDA.seed!(cell.seed)
@assert gpu == (cell.gpus > 0) "Knet takes a GPU if it sees one, else the CPU, without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
data = pycall(cell.data, PyObject)
rows(x) = PyReverseDims(Array(x)) # Julia's arrays are column-major: (classes, N) here is (N, classes) in Python

# --- Model ----------------------------------------------------------------------------------------------------------
# A layer is whatever can be called: Knet follows the operations, and finds the parameters by their type.
struct Network
    embedding
    gru
    w
    b
end

function (network::Network)(tokens) # (N, time), from 1
    x = network.embedding[:, tokens] # a word is a column: (embedding, N, time), as Knet's RNN takes it
    states = network.gru(x) # from zeros on: RNN keeps no state unless given one
    return network.w * states[:, :, end] .+ network.b # the state after the padding: no mask, as published
end

model = Network( # Glorot uniform, biases zero: the default of param and of RNN
    param(params.embedding, params.vocabulary),
    RNN(params.embedding, params.hidden; rnnType = :gru), # reset gate after the product, two biases: cuDNN on a GPU
    param(params.n_classes, params.hidden),
    param0(params.n_classes),
)
cell.gru = gpu ? "cudnn" : "loop"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function(tokens, y) = nll(model(tokens), y) # takes logits, and labels from 1
parameters = Knet.params(model)
for parameter in parameters # each has its own optimiser
    parameter.opt = Adam(
        lr = params.learning_rate, beta1 = params.beta_1, beta2 = params.beta_2, eps = params.epsilon
    )
end


# --- Training step --------------------------------------------------------------------------------------------------
function train_step(x, y)
    loss = @diff loss_function(x .+ 1, y .+ 1)
    for parameter in parameters
        update!(value(parameter), grad(loss, parameter), parameter.opt)
    end
    return value(loss)
end


# --- Prediction -----------------------------------------------------------------------------------------------------
predict(x) = rows(model(x .+ 1))


# --- Weights --------------------------------------------------------------------------------------------------------
# The GRU's parameters are one vector: weights for the input, for the state, biases for the input, for the state.
function set_weights(arrays)
    copyto!(value(model.embedding), arrays[1].T)
    copyto!(value(model.gru.w), vcat((vec(array.T) for array in arrays[2:5])...))
    copyto!(value(model.w), permutedims(arrays[6].T))
    copyto!(value(model.b), arrays[7].T)
end

function get_weights()
    flat, gates = vec(Array(value(model.gru.w))), 3 * params.hidden
    ends = cumsum([gates * params.embedding, gates * params.hidden, gates, gates])
    inputs, state, input_bias, state_bias = (flat[from+1:to] for (from, to) in zip([0; ends[1:3]], ends))
    return [
        PyObject(rows(value(model.embedding))),
        PyObject(rows(reshape(inputs, :, gates))),
        PyObject(rows(reshape(state, :, gates))),
        PyObject(input_bias),
        PyObject(state_bias),
        PyObject(Array(value(model.w))),
        PyObject(Array(value(model.b))),
    ]
end

weights = harness.Weights(get_weights, pyfunction(set_weights, Vector{PyObject}))
cell.run(
    data,
    pyfunction(predict, Matrix{Int}),
    pyfunction(train_step, Matrix{Int}, Vector{Int});
    synchronize = gpu ? CUDA.synchronize : nothing,
    weights,
)
